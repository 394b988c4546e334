"""Alerts as Grafana-managed alert rules, as its provisioning API has them. Pure.

Prometheus raises an alert for every series that an expression gives, whatever its value; Grafana raises one where a number is
not 0. So a rule has three steps: the query; an expression that is 1 for every number, NaN and infinity; a threshold above 0.
This is the form that Grafana itself gives to rules that it imports from Prometheus.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from dashboards.rules.alerts import Alert

GROUP: Final = "wattlens-alerts"
STAMP: Final = "__wattlens_sha256__"
"""Annotation with the hash of a pushed rule; notifications omit names between double underscores."""
_SERVER_KEYS: Final = ("id", "uid", "guid", "orgID", "updated", "updatedBy", "version", "provenance", "folderUID")
_UNKNOWN: Final = {"missingSeriesEvalsToResolve": 1}
"""Keys that servers before Grafana 12 do not know, and drop: where one is absent, it is taken to be what a push said."""
_DEFAULTS: Final = {"queryType": "", "isPaused": False, "keep_firing_for": "0s"}
_UNITS_MS: Final = {
    "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000,
}  # fmt: skip
_SPAN: Final = re.compile(r"(\d{1,9})(ms|[smhdwy])")
_QUERY_WINDOW_S: Final = 600
_SAMPLING: Final = {"intervalMs": 1000, "maxDataPoints": 43200}


def rule(alert: Alert, folder_uid: str, datasource_uid: str) -> dict[str, Any]:
    """A rule with its stamp. Its uid and its title are the alert's name, which never changes."""
    steps = [
        _step("query", datasource_uid, {"expr": alert.expr, "instant": True, "range": False, "editorMode": "code"}),
        _step("any", "__expr__", {"type": "math", "expression": "is_number($query) || is_nan($query) || is_inf($query)"}),
        _step("firing", "__expr__", {"type": "threshold", "expression": "any", "conditions": [_ABOVE_0]}),
    ]
    content = alert.rule()
    labels, annotations = content["labels"], content["annotations"]
    assert isinstance(labels, dict)
    assert isinstance(annotations, dict)
    built = {
        "uid": alert.name,
        "title": alert.name,
        "folderUID": folder_uid,
        "ruleGroup": GROUP,
        "orgID": 1,  # required, and ignored: a token has one organization
        "condition": "firing",
        "data": steps,
        "for": alert.pending,
        "noDataState": "OK",  # no series, no alert, as in Prometheus
        "execErrState": "Error",  # a failing query raises an alert: silence would look like health
        "missingSeriesEvalsToResolve": 1,
        "labels": dict(labels),
        "annotations": dict(annotations),
    }
    built["annotations"] = {**annotations, STAMP: digest(built)}
    return built


def normal(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule without its stamp, the server's own keys and empty values; equal for rules with the same effect."""
    kept = _UNKNOWN | {key: value for key, value in rule.items() if key not in _SERVER_KEYS and not _says_nothing(key, value)}
    annotations = {key: value for key, value in _texts(rule.get("annotations")).items() if key != STAMP}
    kept |= {"annotations": annotations, "labels": _texts(rule.get("labels")), "for": _span(rule.get("for", "0s"))}
    steps = rule.get("data")
    kept["data"] = [_normal_step(step) for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []
    return kept


def same(built: Mapping[str, Any], existing: Mapping[str, Any]) -> bool:
    """Whether two rules do the same."""
    return normal(built) == normal(existing)


def digest(rule: Mapping[str, Any]) -> str:
    """SHA-256 of a rule's effect."""
    return hashlib.sha256(json.dumps(normal(rule), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def as_pushed(rule: Mapping[str, Any]) -> bool:
    """Whether a rule is unchanged since a push wrote it."""
    return _texts(rule.get("annotations")).get(STAMP) == digest(rule)


_ABOVE_0: Final = {"type": "query", "evaluator": {"type": "gt", "params": [0]}}


def _step(ref: str, datasource_uid: str, model: dict[str, Any]) -> dict[str, Any]:
    window_s = 0 if datasource_uid == "__expr__" else _QUERY_WINDOW_S
    return {
        "refId": ref,
        "queryType": "",
        "relativeTimeRange": {"from": window_s, "to": 0},
        "datasourceUid": datasource_uid,
        "model": {"refId": ref, **_SAMPLING, **model},
    }


def _normal_step(step: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in step.items() if not _says_nothing(key, value)}
    model = step.get("model")
    if isinstance(model, Mapping):
        kept["model"] = _SAMPLING | {key: value for key, value in model.items() if value is not None}
    return kept


def _says_nothing(key: str, value: Any) -> bool:
    return value is None or value in ({}, []) or (key in _DEFAULTS and value == _DEFAULTS[key])


def _texts(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _span(text: Any) -> Any:
    """A duration in ms, so that 60m equals 1h; other values are returned unchanged."""
    parts = _SPAN.findall(text) if isinstance(text, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return text
    return sum(int(number) * _UNITS_MS[unit] for number, unit in parts)
