"""Recording rules and alerts as files: two for Prometheus itself, and one object for the Prometheus operator, of one source."""

from collections.abc import Mapping
from typing import Final

from dashboards.rules import alerts, rules
from dashboards.rules import otlp as otlp_rules

RULES: Final = "dashboards/prometheus/wattlens-rules.yml"
ALERTS: Final = "dashboards/prometheus/wattlens-alerts.yml"
OBJECT: Final = "deploy/kubernetes/monitoring/prometheusrule.yaml"


def otlp() -> str:
    """The rules that give metrics which were sent by OTLP the names of scraped ones."""
    return to_yaml(otlp_rules.content(), "dashboards/rules/otlp.py")


def artefacts() -> dict[str, str]:
    """Path from the repository's root -> content."""
    groups = [*_groups(rules.content()), *_groups(alerts.content())]
    whole = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "wattlens", "labels": {"app.kubernetes.io/name": "wattlens"}},
        "spec": {"groups": groups},
    }
    return {
        RULES: to_yaml(rules.content(), "dashboards/rules/rules.py"),
        ALERTS: to_yaml(alerts.content(), "dashboards/rules/alerts.py"),
        OBJECT: to_yaml(whole, "dashboards/rules/rules.py and dashboards/rules/alerts.py"),
    }


def _groups(content: Mapping[str, object]) -> list[object]:
    groups = content["groups"]
    assert isinstance(groups, list)
    return groups


def to_yaml(content: Mapping[str, object], source: str) -> str:
    """Text of a built file; `source` is named in its first line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes a value that occurs twice out twice: anchors are hard to read, and some tools for rules refuse them."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    text: str = yaml.dump(dict(content), Dumper=Dumper, sort_keys=False, width=10_000)
    return f"# Built by `wattlens dashboards build` from {source}; do not edit.\n{text}"
