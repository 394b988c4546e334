"""The dashboard of the stack's own health: coverage, missing sources with reasons, ledgers, versions, cost, alerts."""

from dashboards.boards.stack import rows
from dashboards.dashboard import (
    Dashboard,
    DashboardRows,
    Panel,
    PanelQuery,
    PanelRow,
    build_rows,
    figure,
    node_choices,
    recorded,
    series,
)
from dashboards.rules.alerts import JOB


def _now() -> PanelRow:
    alerts = recorded("ALERTS", 'alertname=~"Wattlens.+"', 'alertstate="firing"', scope="cluster")
    target = recorded("up", JOB, scope="node")
    up = series("gpu_up", scope="node")
    by = "alertname, severity, instance, gpu, workload, model, site, source"
    bad = (
        ("rejected configurations", "config_last_reload_successful"),
        ("journals not writable", "ledger_writable"),
        ("sources down", "source_up"),
    )
    return PanelRow(
        "Now",
        (
            figure(
                "Agents and sites",
                "Targets of jobs named wattlens... that Prometheus scrapes, and all of their targets (up).",
                "none",
                (PanelQuery(f"sum({target})", "scraped"), PanelQuery(f"count({target})", "known")),
                width=6,
                no_value="Prometheus knows no target of a job named wattlens...",
            ),
            figure(
                "GPUs",
                "GPUs that responded to the last poll, and all GPUs known to the scraped agents (gpu_up).",
                "none",
                (PanelQuery(f"sum({up})", "responsive"), PanelQuery(f"count({up})", "known")),
                width=6,
            ),
            figure(
                "Components with faults",
                "Processes that keep a previous configuration because the new one is invalid (config_last_reload_successful), "
                "journals that cannot be written (ledger_writable), and sources that do not respond (source_up).",
                "none",
                tuple(PanelQuery(f"sum({series(name, scope='node')} == bool 0)", text) for text, name in bad),
                width=12,
            ),
            Panel(
                "Firing alerts",
                "Firing alerts of Wattlens (ALERTS). Each alert has its runbook in docs/alerts.md.",
                "none",
                (PanelQuery(f"topk(50, sum by ({by}) ({alerts}))", "firing"),),
                kind="table",
                width=24,
                no_value="no alert of Wattlens is firing, or Prometheus has not loaded wattlens-alerts.yml",
            ),
            Panel(
                "Targets not scraped, first 50",
                "Targets of jobs named wattlens... that Prometheus cannot scrape (up).",
                "none",
                (PanelQuery(f"topk(50, {target} == 0)", "not scraped"),),
                kind="table",
                no_value="Prometheus scrapes every target of jobs named wattlens...",
            ),
            Panel(
                "Scraped targets over time",
                "Number of targets of jobs named wattlens... that Prometheus scrapes, and of those that it cannot scrape (up).",
                "none",
                (PanelQuery(f"sum({target})", "scraped"), PanelQuery(f"sum({target} == bool 0)", "not scraped")),
                minimum=0,
                no_value="Prometheus knows no target of a job named wattlens...",
            ),
        ),
    )


def board() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="wattlens-stack",
        title="Wattlens / Stack health",
        description="Data quality and overhead: measured and missing data, reasons, and the cost of Wattlens itself.",
        variables=node_choices(),
        rows=build_rows(rows, DashboardRows({10: _now})),
    )
