"""The rows of the ledgers and of what Wattlens itself costs: on its nodes, and of Prometheus."""

from dashboards.dashboard import (
    RANGE,
    RATE,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    busiest,
    figure,
    recorded,
    series,
    third,
)
from dashboards.rules.alerts import JOB

_TO_NODE = Link("Node and GPUs", "wattlens-gpu", {"instance": "instance"})
_NAME = "{{instance}}"


def _node(name: str) -> str:
    return series(name, scope="node")


def _group(expr: str) -> str:
    """A rule group without the file that it is in."""
    return f'label_replace({expr}, "rule_group", "$1", "rule_group", ".*;(.+)")'


def ledger() -> PanelRow:
    """Whether the ledger is written."""
    failures, segments = (f"increase({_node(f'ledger_{n}_total')}[{RANGE}])" for n in ("commit_failures", "segments"))
    ended = f"increase({_node('reader_restarts_total')}[{RANGE}])"
    commit = f"clamp_min(time() - {_node('ledger_last_commit_timestamp_seconds')}, 0)"
    wrong = f"{_node('config_last_reload_successful')} == 0"
    return PanelRow(
        "Ledgers and configuration",
        (
            figure(
                "Oldest last commit",
                "Longest time since the last commit to a journal (ledger_last_commit_timestamp_seconds). Agents commit once "
                "per second and publish only committed data.",
                "s",
                (PanelQuery(f"max({commit})", "ago"),),
            ),
            figure(
                "Failed commits",
                "Commits that failed and were retried, in the selected range (ledger_commit_failures_total).",
                "short",
                (PanelQuery(f"sum({failures})", "failed"),),
                decimals=0,
            ),
            figure(
                "Segments closed",
                "Segments closed in the selected range: one per hour and node, and one whenever a process stops "
                "(ledger_segments_total).",
                "short",
                (PanelQuery(f"sum({segments})", "segments"),),
                decimals=0,
            ),
            figure(
                "Journals on disk",
                "Size of all journals, and of the largest one (ledger_journal_bytes).",
                "bytes",
                tuple(
                    PanelQuery(f"{f}({_node('ledger_journal_bytes')})", text)
                    for f, text in (("sum", "all"), ("max", "largest"))
                ),
                width=8,
            ),
            figure(
                "Reader restarts",
                "Readers that were killed in the selected range because a driver call hung (reader_restarts_total).",
                "short",
                (PanelQuery(f"sum({ended})", "restarts"),),
                decimals=0,
            ),
            Panel(
                "Rejected configurations, first 50",
                "Processes with an invalid configuration file: they keep the previous configuration "
                "(config_last_reload_successful). The log names the key.",
                "none",
                (PanelQuery(f"topk(50, {wrong})", "rejected"),),
                kind="table",
                width=8,
                no_value="every configuration is valid, or no agent is scraped",
                links=(_TO_NODE,),
            ),
            Panel(
                "Oldest commits, first 10",
                "Time since the last commit to each journal (ledger_last_commit_timestamp_seconds).",
                "s",
                (PanelQuery(f"topk(10, {commit})", "ago"),),
                kind="table",
                width=8,
                links=(_TO_NODE,),
            ),
            third(
                "Journal size, top 10",
                "Size of each journal on disk (ledger_journal_bytes); its budget is ledger.disk_budget_mib.",
                "bytes",
                (PanelQuery(busiest(_node("ledger_journal_bytes"), 10), _NAME),),
                links=(_TO_NODE,),
            ),
        ),
    )


def overhead() -> PanelRow:
    """What Wattlens costs."""
    used, memory = _node("process_cpu_seconds_total"), _node("process_resident_memory_bytes")
    cpu, by = f"rate({used}[{RATE}])", "by (cluster, job, instance)"
    most_cpu = f"topk(10, sum {by} (rate({used}[{RANGE}] @ end())))"
    most_memory = f"topk(10, sum {by} (avg_over_time({memory}[{RANGE}] @ end())))"
    scraped, samples = (recorded(name, JOB, scope="node") for name in ("scrape_duration_seconds", "scrape_samples_scraped"))
    rules = recorded("prometheus_rule_evaluation_failures_total", 'rule_group=~".*wattlens.*"', scope="cluster")
    took = recorded("prometheus_rule_group_last_duration_seconds", 'rule_group=~".*wattlens.*"', scope="cluster")
    itself = "not available: this Prometheus does not scrape itself, or has no rules of Wattlens"
    return PanelRow(
        "Wattlens overhead",
        (
            Panel(
                "Versions",
                "Number of agents and site processes by version (build_info).",
                "none",
                (PanelQuery(f"count by (version) ({_node('build_info')})", "processes", "short"),),
                kind="table",
                width=8,
            ),
            third(
                "Mean CPU time by process",
                "CPU cores used by each kind of process, mean over all selected nodes (process_cpu_seconds_total).",
                "short",
                (PanelQuery(f"avg by (process) ({cpu})", "{{process}}"),),
                decimals=4,
            ),
            third(
                "Mean memory by process",
                "Resident memory of each kind of process, mean over all selected nodes (process_resident_memory_bytes).",
                "bytes",
                (PanelQuery(f"avg by (process) ({memory})", "{{process}}"),),
            ),
            third(
                "CPU time by node, top 10",
                "CPU cores used by all Wattlens processes of a node (process_cpu_seconds_total).",
                "short",
                (PanelQuery(f"sum {by} ({cpu}) and {most_cpu}", _NAME),),
                decimals=4,
                links=(_TO_NODE,),
            ),
            third(
                "Memory by node, top 10",
                "Resident memory of all Wattlens processes of a node (process_resident_memory_bytes).",
                "bytes",
                (PanelQuery(f"sum {by} ({memory}) and {most_memory}", _NAME),),
                links=(_TO_NODE,),
            ),
            third(
                "Scrape duration",
                "Time that Prometheus takes to scrape a target: median, 99th percentile and slowest (scrape_duration_seconds).",
                "s",
                (
                    PanelQuery(f"quantile(0.5, {scraped})", "median"),
                    PanelQuery(f"quantile(0.99, {scraped})", "99th percentile"),
                    PanelQuery(f"max({scraped})", "slowest"),
                ),
                no_value="Prometheus knows no target of a job named wattlens...",
            ),
            third(
                "Samples per scrape",
                "Number of samples per scrape: of all targets together, and of the largest target (scrape_samples_scraped).",
                "short",
                (PanelQuery(f"sum({samples})", "total"), PanelQuery(f"max({samples})", "largest target")),
                no_value="Prometheus knows no target of a job named wattlens...",
            ),
            third(
                "Rule evaluation duration",
                "Duration of the last evaluation of each group of Wattlens's rules "
                "(prometheus_rule_group_last_duration_seconds).",
                "s",
                (PanelQuery(_group(f"max by (rule_group) ({took})"), "{{rule_group}}"),),
                no_value=itself,
            ),
            Panel(
                "Failed rule evaluations",
                "Failed evaluations of Wattlens's rules in the selected range, by group "
                "(prometheus_rule_evaluation_failures_total).",
                "short",
                (PanelQuery(_group(f"sum by (rule_group) (increase({rules}[{RANGE}]))"), "failures"),),
                kind="table",
                decimals=0,
                width=8,
                no_value=itself,
            ),
        ),
    )


SPEC = DashboardRows({40: ledger, 50: overhead})
