"""The row of what is scraped now, components with faults, and firing alerts."""

from dashboards.panels import GrafanaRow, graph, row, stat, table, wide_table
from dashboards.promql.selectors import of_node, recorded
from dashboards.rules.alerts import JOB


def now() -> GrafanaRow:
    """Targets, faults and firing alerts."""
    alerts = recorded("ALERTS", 'alertname=~"Wattlens.+"', 'alertstate="firing"', scope="cluster")
    target = recorded("up", JOB, scope="node")
    up = of_node("gpu_up")
    by = "alertname, severity, instance, gpu, workload, model, site, source"
    bad = (
        ("rejected configurations", "config_last_reload_successful"),
        ("journals not writable", "ledger_writable"),
        ("sources down", "source_up"),
    )
    return row(
        "Now",
        stat(
            "Agents and sites",
            "Targets of jobs named wattlens... that Prometheus scrapes, and all of their targets (up).",
            "none",
            {"scraped": f"sum({target})", "known": f"count({target})"},
            width=6,
            no_value="Prometheus knows no target of a job named wattlens...",
        ),
        stat(
            "GPUs",
            "GPUs that responded to the last poll, and all GPUs known to the scraped agents (gpu_up).",
            "none",
            {"responsive": f"sum({up})", "known": f"count({up})"},
            width=6,
        ),
        stat(
            "Components with faults",
            "Processes that keep a previous configuration because the new one is invalid (config_last_reload_successful), "
            "journals that cannot be written (ledger_writable), and sources that do not respond (source_up).",
            "none",
            {text: f"sum({of_node(name)} == bool 0)" for text, name in bad},
            width=12,
        ),
        wide_table(
            "Firing alerts",
            "Firing alerts of Wattlens (ALERTS). Each alert has its runbook in docs/alerts.md.",
            "none",
            {"firing": f"topk(50, sum by ({by}) ({alerts}))"},
            no_value="no alert of Wattlens is firing, or Prometheus has not loaded wattlens-alerts.yml",
        ),
        table(
            "Targets not scraped, first 50",
            "Targets of jobs named wattlens... that Prometheus cannot scrape (up).",
            "none",
            {"not scraped": f"topk(50, {target} == 0)"},
            no_value="Prometheus scrapes every target of jobs named wattlens...",
        ),
        graph(
            "Scraped targets over time",
            "Number of targets of jobs named wattlens... that Prometheus scrapes, and of those that it cannot scrape (up).",
            "none",
            {"scraped": f"sum({target})", "not scraped": f"sum({target} == bool 0)"},
            no_value="Prometheus knows no target of a job named wattlens...",
        ),
    )


SPEC = {10: now}
