"""The alerts as a file of Grafana's alert provisioning, for the sidecar of Grafana's Helm chart and for servers without it.

Grafana replaces `$NAME` in most texts of a provisioning file by an environment variable; which texts depends on its version. So
templates here write `.Labels`, the field behind `$labels`, and have no dollar sign. The model of a query is never replaced.
"""

from typing import Any, Final

from dashboards.push.alert_rules import GROUP, STAMP, rule
from dashboards.rules import alerts

PATH: Final = "dashboards/grafana/alerting/wattlens-alerts.yaml"
FOLDER: Final = "Wattlens"
DATASOURCE_UID: Final = "prometheus"
"""Data source of kube-prometheus-stack; the chart's value grafanaAlerts.datasourceUid replaces it."""
_INTERVAL: Final = "1m"
_API_ONLY: Final = ("folderUID", "ruleGroup", "orgID")


def content() -> dict[str, object]:
    """One group with every alert, each with the uid that `wattlens dashboards push --alerts` gives it."""
    rules = [_file_rule(rule(alert, "", DATASOURCE_UID)) for alert in alerts.alerts()]
    return {"apiVersion": 1, "groups": [
        {"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": _INTERVAL, "rules": rules},
    ]}  # fmt: skip


def _file_rule(built: dict[str, Any]) -> dict[str, Any]:
    """A rule of Grafana's API with the keys of a file."""
    kept = {key: value for key, value in built.items() if key not in _API_ONLY}
    kept["missing_series_evals_to_resolve"] = kept.pop("missingSeriesEvalsToResolve")
    notes = {key: text.replace("$labels.", ".Labels.") for key, text in kept["annotations"].items() if key != STAMP}
    return kept | {"annotations": notes}
