"""The rows of the ledgers and of what Wattlens itself costs: on its nodes, and of Prometheus."""

from dashboards.panels import GrafanaRow, Query, link, row, stat, table, third
from dashboards.promql.selectors import busiest, of_node, recorded
from dashboards.rules.alerts import JOB

_TO_NODE = link("Node and GPUs", "wattlens-gpu", "instance")
_NAME = "{{instance}}"


def _group(expr: str) -> str:
    """A rule group without the file that it is in."""
    return f'label_replace({expr}, "rule_group", "$1", "rule_group", ".*;(.+)")'


def ledger() -> GrafanaRow:
    """Whether the ledger is written."""
    failures, segments = (f"increase({of_node(f'ledger_{n}_total')}[$__range])" for n in ("commit_failures", "segments"))
    ended = f"increase({of_node('reader_restarts_total')}[$__range])"
    commit = f"clamp_min(time() - {of_node('ledger_last_commit_timestamp_seconds')}, 0)"
    wrong = f"{of_node('config_last_reload_successful')} == 0"
    return row(
        "Ledgers and configuration",
        stat(
            "Oldest last commit",
            "Longest time since the last commit to a journal (ledger_last_commit_timestamp_seconds). Agents commit once "
            "per second and publish only committed data.",
            "s",
            {"ago": f"max({commit})"},
        ),
        stat(
            "Failed commits",
            "Commits that failed and were retried, in the selected range (ledger_commit_failures_total).",
            "short",
            {"failed": f"sum({failures})"},
            decimals=0,
        ),
        stat(
            "Segments closed",
            "Segments closed in the selected range: one per hour and node, and one whenever a process stops "
            "(ledger_segments_total).",
            "short",
            {"segments": f"sum({segments})"},
            decimals=0,
        ),
        stat(
            "Journals on disk",
            "Size of all journals, and of the largest one (ledger_journal_bytes).",
            "bytes",
            {text: f"{f}({of_node('ledger_journal_bytes')})" for f, text in (("sum", "all"), ("max", "largest"))},
            width=8,
        ),
        stat(
            "Reader restarts",
            "Readers that were killed in the selected range because a driver call hung (reader_restarts_total).",
            "short",
            {"restarts": f"sum({ended})"},
            decimals=0,
        ),
        table(
            "Rejected configurations, first 50",
            "Processes with an invalid configuration file: they keep the previous configuration "
            "(config_last_reload_successful). The log names the key.",
            "none",
            {"rejected": f"topk(50, {wrong})"},
            width=8,
            no_value="every configuration is valid, or no agent is scraped",
            links=_TO_NODE,
        ),
        table(
            "Oldest commits, first 10",
            "Time since the last commit to each journal (ledger_last_commit_timestamp_seconds).",
            "s",
            {"ago": f"topk(10, {commit})"},
            width=8,
            links=_TO_NODE,
        ),
        third(
            "Journal size, top 10",
            "Size of each journal on disk (ledger_journal_bytes); its budget is ledger.disk_budget_mib.",
            "bytes",
            {_NAME: busiest(of_node("ledger_journal_bytes"), 10)},
            links=_TO_NODE,
        ),
    )


def overhead() -> GrafanaRow:
    """What Wattlens costs."""
    used, memory = of_node("process_cpu_seconds_total"), of_node("process_resident_memory_bytes")
    cpu, by = f"rate({used}[$__rate_interval])", "by (cluster, job, instance)"
    most_cpu = f"topk(10, sum {by} (rate({used}[$__range] @ end())))"
    most_memory = f"topk(10, sum {by} (avg_over_time({memory}[$__range] @ end())))"
    scraped, samples = (recorded(name, JOB, scope="node") for name in ("scrape_duration_seconds", "scrape_samples_scraped"))
    rules = recorded("prometheus_rule_evaluation_failures_total", 'rule_group=~".*wattlens.*"', scope="cluster")
    took = recorded("prometheus_rule_group_last_duration_seconds", 'rule_group=~".*wattlens.*"', scope="cluster")
    itself = "not available: this Prometheus does not scrape itself, or has no rules of Wattlens"
    return row(
        "Wattlens overhead",
        table(
            "Versions",
            "Number of agents and site processes by version (build_info).",
            "none",
            {"processes": Query(f"count by (version) ({of_node('build_info')})", "short")},
            width=8,
        ),
        third(
            "Mean CPU time by process",
            "CPU cores used by each kind of process, mean over all selected nodes (process_cpu_seconds_total).",
            "short",
            {"{{process}}": f"avg by (process) ({cpu})"},
            decimals=4,
        ),
        third(
            "Mean memory by process",
            "Resident memory of each kind of process, mean over all selected nodes (process_resident_memory_bytes).",
            "bytes",
            {"{{process}}": f"avg by (process) ({memory})"},
        ),
        third(
            "CPU time by node, top 10",
            "CPU cores used by all Wattlens processes of a node (process_cpu_seconds_total).",
            "short",
            {_NAME: f"sum {by} ({cpu}) and {most_cpu}"},
            decimals=4,
            links=_TO_NODE,
        ),
        third(
            "Memory by node, top 10",
            "Resident memory of all Wattlens processes of a node (process_resident_memory_bytes).",
            "bytes",
            {_NAME: f"sum {by} ({memory}) and {most_memory}"},
            links=_TO_NODE,
        ),
        third(
            "Scrape duration",
            "Time that Prometheus takes to scrape a target: median, 99th percentile and slowest (scrape_duration_seconds).",
            "s",
            {
                "median": f"quantile(0.5, {scraped})",
                "99th percentile": f"quantile(0.99, {scraped})",
                "slowest": f"max({scraped})",
            },
            no_value="Prometheus knows no target of a job named wattlens...",
        ),
        third(
            "Samples per scrape",
            "Number of samples per scrape: of all targets together, and of the largest target (scrape_samples_scraped).",
            "short",
            {"total": f"sum({samples})", "largest target": f"max({samples})"},
            no_value="Prometheus knows no target of a job named wattlens...",
        ),
        third(
            "Rule evaluation duration",
            "Duration of the last evaluation of each group of Wattlens's rules (prometheus_rule_group_last_duration_seconds).",
            "s",
            {"{{rule_group}}": _group(f"max by (rule_group) ({took})")},
            no_value=itself,
        ),
        table(
            "Failed rule evaluations",
            "Failed evaluations of Wattlens's rules in the selected range, by group "
            "(prometheus_rule_evaluation_failures_total).",
            "short",
            {"failures": _group(f"sum by (rule_group) (increase({rules}[$__range]))")},
            decimals=0,
            width=8,
            no_value=itself,
        ),
    )


SPEC = {40: ledger, 50: overhead}
