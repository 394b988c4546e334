"""Names of Wattlens' metrics in OpenTelemetry. Pure.

GPU readings that the semantic conventions for hardware define have their names (`hw.*`, version 1.44 of the conventions, status
Development). All other metrics are `wattlens.*`. These have the attributes that the Prometheus metric has as labels, and a
receiver that writes OpenTelemetry names for Prometheus, such as Prometheus itself, gives them the name that /metrics has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from energy_agent.core.catalogue.metric import Signal

Kind = Literal["counter", "updowncounter", "gauge", "histogram"]
Labels = Mapping[str, str]
Attribute = str | int | float | bool
ABSENT_REASON: Final = "wattlens.energy.absent_reason"
"""Attribute of a span without energy."""

_UNITS = {
    "joules": "J",
    "watts": "W",
    "hertz": "Hz",
    "seconds": "s",
    "bytes": "By",
    "celsius": "Cel",
    "ratio": "1",
}
"""Units at the end of a Prometheus name, as UCUM writes them. Other units stay in the name."""

_PROMETHEUS_UNITS = {ucum: f"_{unit}" for unit, ucum in _UNITS.items()}

_NAMESPACES = (
    "config", "dvfs", "energy", "facility", "gpu", "grid", "ledger", "namespace", "node", "owner", "process", "pue", "reader",
    "serving", "source", "workload",
)  # fmt: skip
"""First words of names that are a namespace: the dot follows them."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A metric in OpenTelemetry.

    Args:
        help: its description.
        unit: in UCUM; "" for a metric without one.
        constants: attributes of every point.
        renamed: label -> attribute; other labels keep their names.
        values: label -> what its values become.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    constants: Labels = field(default_factory=dict)
    renamed: Labels = field(default_factory=dict)
    values: Mapping[str, Callable[[str], str]] = field(default_factory=dict)

    def attributes(self, labels: Labels) -> dict[str, str]:
        """Attributes of a series with these labels; empty labels are absent, as on the page."""
        named = {self.renamed.get(label, label): self.values.get(label, str)(value) for label, value in labels.items() if value}
        return {**self.constants, **named}

    @property
    def prometheus_name(self) -> str:
        """The name that a receiver which writes Prometheus names gives it."""
        unit = _PROMETHEUS_UNITS.get(self.unit, "")
        if self.unit == "1":
            unit = "_ratio" if self.kind == "gauge" else ""
        return self.name.replace(".", "_") + unit + ("_total" if self.kind == "counter" else "")


_HELP = {
    "hw.energy": "Energy of the GPU; its measurement methods are disjoint.",
    "hw.power": "Power draw at the instant of the reading.",
    "hw.temperature": "Temperature of the GPU or of its memory.",
    "hw.gpu.utilization": "Share of the driver's last sampling period in which a kernel, or the video encoder or decoder, ran.",
    "hw.gpu.memory.usage": "Device memory in use.",
    "hw.gpu.memory.limit": "Size of the device memory.",
    "hw.errors": "ECC errors over the lifetime of the GPU, and XID errors that the driver reported.",
    "hw.status": "1 if the GPU responded to the last poll, else 0.",
}


def _gpu(name: str, kind: Kind, unit: str, **constants: str) -> Instrument:
    """A metric of a GPU by the conventions for hardware: `hw.id` is the UUID, `hw.name` what nvidia-smi calls the GPU."""
    return Instrument(
        name,
        kind,
        unit,
        _HELP[name],
        {"hw.type": "gpu", **{key.replace("__", "."): value for key, value in constants.items()}},
        {"uuid": "hw.id", "gpu": "hw.name", "method": "wattlens.method", "severity": "error.type", "xid": "error.type"},
        {"gpu": "GPU {}".format, "severity": "ecc_{}".format, "xid": "xid_{}".format},
    )


BY_CONVENTION: Mapping[str, Instrument] = {
    "gpu_energy_joules_total": _gpu("hw.energy", "counter", "J"),
    "gpu_power_instant_watts": _gpu("hw.power", "gauge", "W"),
    "gpu_temperature_celsius": _gpu("hw.temperature", "gauge", "Cel", hw__sensor_location="gpu"),
    "gpu_memory_temperature_celsius": _gpu("hw.temperature", "gauge", "Cel", hw__sensor_location="memory"),
    "gpu_utilization_ratio": _gpu("hw.gpu.utilization", "gauge", "1", hw__gpu__task="general"),
    "gpu_encoder_utilization_ratio": _gpu("hw.gpu.utilization", "gauge", "1", hw__gpu__task="encoder"),
    "gpu_decoder_utilization_ratio": _gpu("hw.gpu.utilization", "gauge", "1", hw__gpu__task="decoder"),
    "gpu_memory_used_bytes": _gpu("hw.gpu.memory.usage", "updowncounter", "By"),
    "gpu_memory_total_bytes": _gpu("hw.gpu.memory.limit", "updowncounter", "By"),
    "gpu_ecc_errors_total": _gpu("hw.errors", "counter", "{error}"),
    "gpu_xid_errors_total": _gpu("hw.errors", "counter", "{error}"),
    "gpu_up": _gpu("hw.status", "updowncounter", "1", hw__state="ok"),
}
"""Signals that the conventions define, by the signal's name."""


def energy_attributes(joules: float | None, lower: float | None, upper: float | None, reason: str) -> dict[str, Attribute]:
    """Attributes of a span for its energy, J, with the bounds that are known; without energy the reason."""
    if joules is None:
        return {ABSENT_REASON: reason}
    values = {"joules": joules, "lower_joules": lower, "upper_joules": upper}
    return {f"wattlens.energy.{name}": value for name, value in values.items() if value is not None}


def instrument(signal: Signal) -> Instrument:
    """The metric in OpenTelemetry of a signal of the catalogue."""
    convention = BY_CONVENTION.get(signal.name)
    if convention is not None:
        return convention
    name = signal.name.removesuffix("_total") if signal.kind == "counter" else signal.name
    unit = _UNITS.get(signal.unit, "")
    if unit:
        name = name.removesuffix(f"_{signal.unit}")
    first, _, rest = name.partition("_")
    dotted = f"{first}.{rest}" if rest and first in _NAMESPACES else name
    kind: Kind = "gauge" if signal.kind == "info" else signal.kind
    return Instrument(f"wattlens.{dotted}", kind, unit, signal.help)
