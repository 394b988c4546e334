"""The dashboard of the stack's own health: coverage, missing sources with reasons, ledgers, versions, cost, alerts."""

from dashboards.boards.stack import rows
from dashboards.dashboard import (
    Dashboard,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    build_rows,
    figure,
    node_choices,
    recorded,
    series,
)
from dashboards.rules.alerts import JOB, RUNBOOKS


def _now() -> PanelRow:
    alerts = recorded("ALERTS", 'alertname=~"Wattlens.+"', 'alertstate="firing"', scope="cluster")
    target = recorded("up", JOB, scope="node")
    up = series("gpu_up", scope="node")
    by = "alertname, severity, instance, gpu, workload, model, site, source"
    bad = (
        ("a configuration was rejected", "config_last_reload_successful"),
        ("a journal cannot be written", "ledger_writable"),
        ("a source is down", "source_up"),
    )
    return PanelRow(
        "Now",
        (
            figure(
                "Agents and sites",
                "Targets of jobs named wattlens... that Prometheus gets a page from, and all that it knows (up).",
                "none",
                (PanelQuery(f"sum({target})", "scraped"), PanelQuery(f"count({target})", "known")),
                width=6,
                no_value="no target of a job named wattlens... is known to Prometheus",
            ),
            figure(
                "GPUs",
                "GPUs that answered the last poll, and all that the scraped agents know (gpu_up).",
                "none",
                (PanelQuery(f"sum({up})", "answering"), PanelQuery(f"count({up})", "known")),
                width=6,
            ),
            figure(
                "Components with faults",
                "How many processes keep an old configuration because the new one is wrong (config_last_reload_successful), "
                "how many journals cannot be written (ledger_writable), and how many sources do not answer (source_up).",
                "none",
                tuple(PanelQuery(f"sum({series(name, scope='node')} == bool 0)", text) for text, name in bad),
                width=12,
            ),
            Panel(
                "Firing alerts",
                "Alerts of Wattlens that fire now (ALERTS). Each leads to its runbook.",
                "none",
                (PanelQuery(f"topk(50, sum by ({by}) ({alerts}))", "firing"),),
                kind="table",
                width=24,
                no_value="no alert of Wattlens fires, or wattlens-alerts.yml is not loaded into this Prometheus",
                links=(Link("Runbook", choices={"page": "alertname"}, page=f"{RUNBOOKS}/"),),
            ),
            Panel(
                "Targets not scraped, first 50",
                "Targets of jobs named wattlens... that Prometheus gets no page from (up).",
                "none",
                (PanelQuery(f"topk(50, {target} == 0)", "not scraped"),),
                kind="table",
                no_value="every target of jobs named wattlens... is scraped",
            ),
            Panel(
                "Scraped targets over time",
                "How many targets of jobs named wattlens... Prometheus gets a page from, and how many it does not (up).",
                "none",
                (PanelQuery(f"sum({target})", "scraped"), PanelQuery(f"sum({target} == bool 0)", "not scraped")),
                minimum=0,
                no_value="no target of a job named wattlens... is known to Prometheus",
            ),
        ),
    )


def board() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="wattlens-stack",
        title="Wattlens / Stack health",
        description="Whether the figures can be trusted: what was seen and what not, why, and what Wattlens itself costs.",
        variables=node_choices(),
        rows=build_rows(rows, DashboardRows({10: _now})),
    )
