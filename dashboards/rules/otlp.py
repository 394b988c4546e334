"""Recording rules for a Prometheus that gets metrics by OTLP: GPU series of the semantic conventions under their usual names.

With them, dashboards and alerts read metrics that were scraped and metrics that were sent alike. All other metrics have their
usual names already.
"""

from typing import Any, Final

from dashboards.rules import rules
from dashboards.rules.model import RecordingRule, RuleGroup
from energy_agent.core.catalogue.node import BY_NAME
from energy_agent.core.catalogue.opentelemetry import BY_CONVENTION, Instrument

PATH: Final = "dashboards/prometheus/wattlens-otlp-rules.yml"
INTERVAL: Final = "15s"
"""As often as an agent exports."""


def groups() -> tuple[RuleGroup, ...]:
    """One rule for each metric that the conventions name."""
    return (RuleGroup("wattlens-otlp", INTERVAL, tuple(_rule(name, named) for name, named in BY_CONVENTION.items())),)


def content() -> dict[str, list[dict[str, Any]]]:
    """The group, as a rules file of Prometheus has it."""
    return rules.as_content(groups())


def _rule(name: str, named: Instrument) -> RecordingRule:
    signal = BY_NAME[name]
    selected = ", ".join(f'{_label(attribute)}="{value}"' for attribute, value in named.constants.items())
    prefixes = {label: named.values.get(label, str)("") for label in signal.labels}
    for label, prefix in prefixes.items():
        if prefix and named.renamed[label] == "error.type":
            selected += f', error_type=~"{prefix}.+"'
    expr = f"{named.prometheus_name}{{{selected}}}"
    if named.unit == "1" and named.kind == "updowncounter":  # Prometheus and VictoriaMetrics name these differently
        expr = f'{{__name__=~"{named.prometheus_name}(_ratio)?", {selected}}}'
    for label, prefix in prefixes.items():
        expr = f'label_replace({expr}, "{label}", "$1", "{_label(named.renamed[label])}", "{prefix}(.+)")'
    gone = sorted({_label(attribute) for attribute in (*named.constants, *(named.renamed[label] for label in signal.labels))})
    return RecordingRule(signal.metric, f"sum without ({', '.join(gone)}) ({expr})")


def _label(attribute: str) -> str:
    return attribute.replace(".", "_")
