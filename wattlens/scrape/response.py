"""One `/metrics` response of an agent, with lookup by labels and quantities as short text. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class ScrapeResponse:
    """One `/metrics` response: samples by name. `t_s` is the reader's monotonic time."""

    t_s: float
    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)

    def one(self, name: str, **labels: str) -> float | None:
        """Return the sum of all samples with these labels; None without such samples."""
        want = labels.items()
        values = [v for k, v in self.samples.get(f"wattlens_{name}", {}).items() if want <= dict(k).items()]
        return sum(values) if values else None

    def rows(self, name: str) -> Iterable[tuple[dict[str, str], float]]:
        """Labels and value of each sample."""
        return ((dict(k), v) for k, v in self.samples.get(f"wattlens_{name}", {}).items())

    def gpu_power_w(self) -> dict[str, float]:
        """Power of each GPU that reports it, by UUID: the average, or the instant reading of a board that has no average."""
        names = ("gpu_power_instant_watts", "gpu_power_watts")
        return {labels["uuid"]: watts for name in names for labels, watts in self.rows(name)}


def parse(text: str, t_s: float) -> ScrapeResponse:
    """A page from its text.

    Raises:
        ValueError: it is no Prometheus text.
    """
    from prometheus_client.parser import text_string_to_metric_families

    page = ScrapeResponse(t_s)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            page.samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return page


def grown(first: ScrapeResponse, last: ScrapeResponse, name: str, **labels: str) -> float | None:
    """By how much a counter has grown; None where it has not, or was not there."""
    before, after = first.one(name, **labels), last.one(name, **labels)
    return None if before is None or after is None or after <= before else after - before


def fmt(width: int, form: str, per_unit: float = 1.0) -> Callable[[float | None], str]:
    """Return a formatter of a quantity for a column; it writes `-` for None."""

    def show(value: float | None) -> str:
        return ("-" if value is None else form.format(value / per_unit)).rjust(width)

    return show


watts = fmt(6, "{:.0f} W")
celsius = fmt(5, "{:.0f} C")
megahertz = fmt(8, "{:.0f} MHz", 1e6)
percent = fmt(5, "{:.0f} %", 0.01)
_joules = fmt(10, "{:,.0f} J")
_kilojoules = fmt(10, "{:,.0f} kJ", 1e3)
_megajoules = fmt(10, "{:,.0f} MJ", 1e6)


def joules(value: float | None) -> str:
    """An energy in a column of ten."""
    if value is None or value < 999_999.5:
        return _joules(value)
    return _kilojoules(value) if value < 1e9 else _megajoules(value)
