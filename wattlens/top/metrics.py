"""Responses of an agent's `/metrics` as samples that can be looked up. Pure.

Consecutive responses differ in their values only, so names and labels are parsed once and shared: 420 series take 0.2 ms of CPU
instead of 8 ms with the client library's parser.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from energy_agent.core.text import printable

Labels = dict[str, str]
TEXT_MAX = 300
"""Characters of a label's value that are kept: pods and users choose some of them."""
_SERIES = re.compile(r"wattlens_([a-z0-9_]+)(?:\{(.*)\})?")
_FOREIGN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')
_ESCAPE = re.compile(r"\\(.)")


@dataclass(slots=True)
class SeriesIndex:
    """Names and labels of the series of a response, in its order; `series` are those of Wattlens."""

    prefixes: list[str]  # of each line, up to its value
    series: dict[str, list[tuple[Labels, int]]] = field(default_factory=dict)  # by name: labels and line
    by_gpu: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # by name and UUID: lines

    def __post_init__(self) -> None:
        for line, prefix in enumerate(self.prefixes):
            match = _SERIES.fullmatch(prefix)
            if match is None:
                if not _FOREIGN.fullmatch(prefix):
                    raise ValueError("the response is not Prometheus text")
                continue
            labels = {key: _unescape(value) for key, value in _LABEL.findall(match[2] or "")}
            self.series.setdefault(match[1], []).append((labels, line))
            if "uuid" in labels:
                self.by_gpu.setdefault((match[1], labels["uuid"]), []).append(line)


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
        matches = [v for own, v in self.rows(name) if all(own.get(k) == label for k, label in labels.items())]
        return sum(matches) if matches else None

    def of_gpu(self, name: str, uuid: str) -> float | None:
        """The sum of a GPU's series of a family; None without any."""
        lines = self.index.by_gpu.get((name, uuid))
        return None if lines is None else sum(self.values[line] for line in lines)


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


def _unescape(value: str) -> str:
    if "\\" in value:
        value = _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
    return printable(value[:TEXT_MAX])
