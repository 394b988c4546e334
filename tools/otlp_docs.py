"""The table of OpenTelemetry names in docs/otlp.md, from the catalogue."""

from energy_agent.core.catalogue.metric import Signal
from energy_agent.core.catalogue.node import AGENT
from energy_agent.core.catalogue.opentelemetry import BY_CONVENTION, instrument

_LABELS = {"gpu": "0", "uuid": "GPU-1", "method": "counter", "severity": "corrected", "xid": "79"}


def table() -> str:
    """A row for each metric that an agent sends, those of the conventions first."""
    rows = map(_row, sorted(AGENT, key=lambda signal: signal.name not in BY_CONVENTION))
    head = "\n| OpenTelemetry | Instrument | Unit | Attributes | On /metrics |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(rows) + "\n"


def _row(signal: Signal) -> str:
    named = instrument(signal)
    if signal.name in BY_CONVENTION:
        example = named.attributes({label: _LABELS[label] for label in signal.labels})
        attributes = ", ".join(f'`{name}="{value}"`' for name, value in sorted(example.items()))
    else:
        attributes = ", ".join(f"`{label}`" for label in signal.labels)
    unit = f"`{named.unit}`" if named.unit else ""
    return f"| `{named.name}` | {named.kind} | {unit} | {attributes} | `{signal.metric}` |\n"
