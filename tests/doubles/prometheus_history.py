"""A Prometheus that has scraped the given series, for the queries that `wattlens usage` makes of their history."""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace

from wattlens.prometheus.history import PrometheusSeries

Samples = list[tuple[int, Decimal]]
_QUERY = re.compile(r"(?:(\w+)\()?(\w+)\{(.*)\}(?:\[(\d+)ms\]\))?")
_FUNCTIONS: Mapping[str, Callable[[Samples], Decimal]] = {
    "max_over_time": lambda samples: max(value for _, value in samples),
    "min_over_time": lambda samples: min(value for _, value in samples),
    "count_over_time": lambda samples: Decimal(len(samples)),
    "resets": lambda samples: Decimal(sum(after[1] < before[1] for before, after in pairwise(samples))),
    "": lambda samples: samples[-1][1],
}
_STALE_NS = 300 * 10**9


class ScrapedHistory:
    """Series by their labels, with `__name__`; `scrape` adds a response."""

    access = SimpleNamespace(url="http://prometheus")

    def __init__(self) -> None:
        self._series: dict[tuple[tuple[str, str], ...], Samples] = {}

    def scrape(self, t_ns: int, target: Mapping[str, str], response: Mapping[tuple[str, ...], Decimal | int]) -> None:
        """Add the values of a response; a key is a family and `label=value` of its labels."""
        for (family, *labels), value in response.items():
            series = {"__name__": f"wattlens_{family}", **target, **dict(label.split("=", 1) for label in labels)}
            self._series.setdefault(tuple(sorted(series.items())), []).append((t_ns, Decimal(value)))

    def _select(self, select: str, start_ns: int, end_ns: int) -> Iterator[tuple[dict[str, str], Samples]]:
        name, matchers = re.fullmatch(r"(\w+)\{(.*)\}", select).groups()  # type: ignore[union-attr]
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', matchers))
        for key, samples in self._series.items():
            labels = dict(key)
            if labels["__name__"] == name and all(labels.get(label, "") == value for label, value in wanted.items()):
                within = [sample for sample in samples if start_ns < sample[0] <= end_ns]
                if within:
                    yield labels, within

    def samples(self, name: str, matchers: Mapping[str, str], start_ns: int, end_ns: int) -> list[PrometheusSeries]:
        """Raw samples."""
        matching = ",".join(f'{label}="{value}"' for label, value in matchers.items())
        series = self._select(f"{name}{{{matching}}}", start_ns, end_ns)
        return [PrometheusSeries(labels, tuple((t_ns, str(v)) for t_ns, v in samples)) for labels, samples in series]

    def instant(self, query: str, at_ns: int) -> list[tuple[dict[str, str], Decimal]]:
        """A function over a range, or an instant selector."""
        function, name, matchers, range_ms = _QUERY.fullmatch(query).groups()  # type: ignore[union-attr]
        length_ns = _STALE_NS if range_ms is None else int(range_ms) * 10**6
        series = self._select(f"{name}{{{matchers}}}", at_ns - length_ns, at_ns)
        return [(labels, _FUNCTIONS[function or ""](samples)) for labels, samples in series]

    def series(self, select: str, start_ns: int, end_ns: int) -> list[dict[str, str]]:
        """Labels of series."""
        return [labels for labels, _ in self._select(select, start_ns, end_ns)]

    def label_values(self, label: str, select: str, start_ns: int, end_ns: int) -> list[str]:
        """Values of a label."""
        return sorted({labels.get(label, "") for labels in self.series(select, start_ns, end_ns)} - {""})
