"""Responses of an agent's `/metrics` as samples that can be looked up. Pure.

Consecutive responses differ in their values only, so the client library parses names and labels once, and they are shared: a
response with the series of the one before takes 0.2 ms of CPU instead of 8 ms, with 420 series.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from energy_agent.core.text import printable

Labels = dict[str, str]
PREFIX = "wattlens_"
TEXT_MAX = 300
"""Characters of a label's value that are kept: pods and users choose some of them."""


@dataclass(slots=True)
class SeriesIndex:
    """Names and labels of the series of a response, in its order; `series` are those of Wattlens."""

    prefixes: list[str]  # of each line, up to its value
    series: dict[str, list[tuple[Labels, int]]] = field(default_factory=dict)  # by name: labels and line
    by_gpu: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # by name and UUID: lines

    def __post_init__(self) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        text = "".join(f"{prefix} 0\n" for prefix in self.prefixes)
        try:
            samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        except ValueError as error:
            raise ValueError(f"the response is not Prometheus text: {error}") from None
        if len(samples) != len(self.prefixes) or any(sample.timestamp is not None for sample in samples):
            raise ValueError("the response is not Prometheus text without timestamps")
        for line, sample in enumerate(samples):
            if not sample.name.startswith(PREFIX):
                continue
            name = sample.name.removeprefix(PREFIX)
            labels = {key: printable(value[:TEXT_MAX]) for key, value in sample.labels.items()}
            self.series.setdefault(name, []).append((labels, line))
            if "uuid" in labels:
                self.by_gpu.setdefault((name, labels["uuid"]), []).append(line)


@dataclass(frozen=True, slots=True)
class MetricsResponse:
    """One response. `t_s` is the reader's monotonic time."""

    t_s: float
    index: SeriesIndex
    values: list[float]

    def rows(self, name: str) -> Iterator[tuple[Labels, float]]:
        """Labels and value of each series of a family."""
        values = self.values
        return ((labels, values[line]) for labels, line in self.index.series.get(name, ()))

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of the series of a family with these labels; None without any."""
        matches = [
            v for series_labels, v in self.rows(name) if all(series_labels.get(k) == label for k, label in labels.items())
        ]
        return sum(matches) if matches else None

    def of_gpu(self, name: str, uuid: str) -> float | None:
        """The sum of a GPU's series of a family; None without any."""
        lines = self.index.by_gpu.get((name, uuid))
        return None if lines is None else sum(self.values[line] for line in lines)


def parse(text: str, t_s: float) -> MetricsResponse:
    """One response from its text.

    Raises:
        ValueError: it is not Prometheus text.
    """
    return MetricsParser().parse(text, t_s)


class MetricsParser:
    """Parses the responses of one agent, one after the other."""

    def __init__(self) -> None:
        self._index = SeriesIndex([])

    def parse(self, text: str, t_s: float) -> MetricsResponse:
        """A response from its text.

        Raises:
            ValueError: it is not Prometheus text.
        """
        parts = [line.rpartition(" ") for line in text.split("\n") if line and line[0] != "#"]
        prefixes = [prefix for prefix, _, _ in parts]
        if prefixes != self._index.prefixes:
            self._index = SeriesIndex(prefixes)
        return MetricsResponse(t_s, self._index, [float(value) for _, _, value in parts])
