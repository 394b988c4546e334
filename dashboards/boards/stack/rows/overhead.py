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
                "The longest time since a journal was last committed (ledger_last_commit_timestamp_seconds). Agents publish "
                "only what is committed, once a second.",
                "s",
                (PanelQuery(f"max({commit})", "ago"),),
            ),
            figure(
                "Failed commits",
                "Commits that failed and were tried again, in the selected range (ledger_commit_failures_total).",
                "short",
                (PanelQuery(f"sum({failures})", "failed"),),
                decimals=0,
            ),
            figure(
                "Segments closed",
                "Segments that were closed in the selected range: one per hour and node, and one at each end of a process "
                "(ledger_segments_total).",
                "short",
                (PanelQuery(f"sum({segments})", "segments"),),
                decimals=0,
            ),
            figure(
                "Journals on disk",
                "Bytes of all journals, and of the largest (ledger_journal_bytes).",
                "bytes",
                tuple(
                    PanelQuery(f"{f}({_node('ledger_journal_bytes')})", text)
                    for f, text in (("sum", "all"), ("max", "largest"))
                ),
                width=8,
            ),
            figure(
                "Reader restarts",
                "Readers that were ended in the selected range because a call to the driver did not come back "
                "(reader_restarts_total).",
                "short",
                (PanelQuery(f"sum({ended})", "ended"),),
                decimals=0,
            ),
            Panel(
                "Rejected configurations, first 50",
                "Processes whose configuration file is wrong: they keep the one before (config_last_reload_successful). The "
                "log names the key.",
                "none",
                (PanelQuery(f"topk(50, {wrong})", "rejected"),),
                kind="table",
                width=8,
                no_value="every configuration is in force as it is written, or no agent is scraped",
                links=(_TO_NODE,),
            ),
            Panel(
                "Oldest commits, first 10",
                "Time since each journal was last committed (ledger_last_commit_timestamp_seconds).",
                "s",
                (PanelQuery(f"topk(10, {commit})", "ago"),),
                kind="table",
                width=8,
                links=(_TO_NODE,),
            ),
            third(
                "Journal size, top 10",
                "Bytes of each journal on disk (ledger_journal_bytes); its budget is ledger.disk_budget_mib.",
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
    itself = "not known: this Prometheus does not scrape itself, or has no rules of Wattlens"
    return PanelRow(
        "Wattlens overhead",
        (
            Panel(
                "Versions",
                "How many agents and sites run each version (build_info).",
                "none",
                (PanelQuery(f"count by (version) ({_node('build_info')})", "processes", "short"),),
                kind="table",
                width=8,
            ),
            third(
                "Mean CPU time by process",
                "Cores that each kind of process takes, as the mean over all chosen nodes (process_cpu_seconds_total).",
                "short",
                (PanelQuery(f"avg by (process) ({cpu})", "{{process}}"),),
                decimals=4,
            ),
            third(
                "Mean memory by process",
                "Resident memory of each kind of process, as the mean over all chosen nodes (process_resident_memory_bytes).",
                "bytes",
                (PanelQuery(f"avg by (process) ({memory})", "{{process}}"),),
            ),
            third(
                "CPU time by node, top 10",
                "Cores that all processes of Wattlens on a node take together (process_cpu_seconds_total).",
                "short",
                (PanelQuery(f"sum {by} ({cpu}) and {most_cpu}", _NAME),),
                decimals=4,
                links=(_TO_NODE,),
            ),
            third(
                "Memory by node, top 10",
                "Resident memory of all processes of Wattlens on a node together (process_resident_memory_bytes).",
                "bytes",
                (PanelQuery(f"sum {by} ({memory}) and {most_memory}", _NAME),),
                links=(_TO_NODE,),
            ),
            third(
                "Scrape duration",
                "How long Prometheus takes to scrape a target: the middle, and the slowest (scrape_duration_seconds).",
                "s",
                (
                    PanelQuery(f"quantile(0.5, {scraped})", "middle"),
                    PanelQuery(f"quantile(0.99, {scraped})", "99 of 100 take less"),
                    PanelQuery(f"max({scraped})", "slowest"),
                ),
                no_value="no target of a job named wattlens... is known to Prometheus",
            ),
            third(
                "Samples per scrape",
                "How many samples a page has: all together, and the largest page (scrape_samples_scraped).",
                "short",
                (PanelQuery(f"sum({samples})", "all"), PanelQuery(f"max({samples})", "largest page")),
                no_value="no target of a job named wattlens... is known to Prometheus",
            ),
            third(
                "Rule evaluation duration",
                "How long each group of Wattlens's rules took when it was last evaluated "
                "(prometheus_rule_group_last_duration_seconds).",
                "s",
                (PanelQuery(_group(f"max by (rule_group) ({took})"), "{{rule_group}}"),),
                no_value=itself,
            ),
            Panel(
                "Failed rule evaluations",
                "Evaluations of Wattlens's rules that failed in the selected range, by group "
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
