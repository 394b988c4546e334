"""Definition of a metric family: what it is, and where a snapshot has its samples. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, Generic, Literal, TypeVar

from energy_agent.core.units import hertz, micro, milli, nano, real

Kind = Literal["counter", "gauge", "info", "histogram"]
Labels = tuple[str, ...]
Sample = tuple[Labels, str]
"""Label values in the order of the signal's labels, and the value as text."""
Row = tuple[Labels, Any]
"""Label values, and the object with the numbers of every signal that has these labels."""
Getter = str | Callable[[Any], Any]
"""Name of an attribute, with dots for one of an attribute; or a pure function."""
S_co = TypeVar("S_co", covariant=True)
T = TypeVar("T")

_KINDS: dict[str, Kind] = {"total": "counter", "info": "info"}
_TEXTS: dict[str, Callable[[Any], str]] = {
    "joules": micro,
    "watts": milli,
    "seconds": nano,
    "hertz": hertz,
    "ratio": real,
    "joules_per_token": real,
    "bytes_per_second": real,
    "grams_per_kilowatt_hour": str,
    "bytes": str,
    "celsius": str,
}
"""Units at the end of a name, and the text of a number as snapshots have it: uJ, mW, ns, MHz."""


class Scrape(Generic[S_co]):
    """A snapshot, and what several signals need of it."""

    def __init__(self, snapshot: S_co) -> None:
        self.snapshot = snapshot
        self._results: dict[Callable[[Any], Any], Any] = {}

    def of(self, function: Callable[["Scrape[S_co]"], T]) -> T:
        """The result of a function of this scrape, which is called once."""
        result: T | None = self._results.get(function)
        if result is None:
            result = self._results[function] = function(self)
        return result


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """Rows that signals share. Rows of a histogram have two more labels: the suffix of its name, and `le`."""

    labels: Labels
    rows: Callable[[Scrape[Any]], list[Row]]


NODE = Source((), lambda scrape: [((), scrape.snapshot)])
"""The snapshot itself."""


def listed(collection: str, *labels: str) -> Source:
    """A row for each object of a collection of the snapshot; the objects have attributes with the names of the labels."""
    objects = attrgetter(collection)
    values: Callable[[Any], Any] = attrgetter(*labels)
    if len(labels) == 1:
        return Source(labels, lambda scrape: [((values(row),), row) for row in objects(scrape.snapshot)])
    return Source(labels, lambda scrape: [(values(row), row) for row in objects(scrape.snapshot)])


def each(source: Source, mapping: Getter, *labels: str) -> Source:
    """A row for each item of a mapping that the rows of another source have; several labels: its keys are tuples."""
    get, is_tuple = _function(mapping), len(labels) > 1

    def rows(scrape: Scrape[Any]) -> list[Row]:
        if not (of_all := scrape.of(source.rows)):
            return of_all
        if is_tuple:
            return [(of + key, value) for of, row in of_all for key, value in get(row).items()]
        return [((*of, key), value) for of, row in of_all for key, value in get(row).items()]

    return Source((*source.labels, *labels), rows)


def derive(source: Source, value: Getter) -> Source:
    """The rows of another source with a value of each, which several signals need; without rows that have none."""
    get = _function(value)
    return Source(
        source.labels, lambda scrape: [(of, value) for of, row in scrape.of(source.rows) if (value := get(row)) is not None]
    )


def itself(row: T) -> T:
    """The row."""
    return row


@dataclass(frozen=True, eq=False)
class Signal:
    """One metric family. `name` is without the `wattlens_` prefix; it ends in its unit and, of counters, in `_total`.

    Args:
        behaviour: when a series appears, goes and restarts.
        source: its rows. An empty label value is left out, as Prometheus treats both the same.
        value: of a row: the number, None where it is absent; of an info family with `more`: the values of those labels.
        more: labels in addition to those of the source. A row without values for them has no sample.
        text: writes a number in the signal's unit; by default from the unit of snapshots.
        is_histogram: the rows are buckets, sum and count.
    """

    name: str
    help: str
    behaviour: str
    source: Source
    value: Getter = itself
    more: Labels = ()
    text: Callable[[Any], str] | None = None
    is_histogram: bool = False

    @cached_property
    def labels(self) -> Labels:
        """In the order in which they are written."""
        return (*self.source.labels, *self.more)

    @cached_property
    def kind(self) -> Kind:
        """Its type in Prometheus, or info."""
        return "histogram" if self.is_histogram else _KINDS.get(self.name.rpartition("_")[2], "gauge")

    @cached_property
    def unit(self) -> str:
        """In base units: joules, watts, hertz, ...; "" for a count."""
        stem = self.name.removesuffix("_total")
        return next((unit for unit in _TEXTS if stem.endswith(f"_{unit}")), "")

    @property
    def metric(self) -> str:
        """The full name as exported."""
        return f"wattlens_{self.name}"

    @cached_property
    def write(self) -> Callable[[Any], str]:
        """The text of a number of a snapshot."""
        return self.text or _TEXTS.get(self.unit, str)

    @cached_property
    def read(self) -> Callable[[list[Row]], list[Sample]]:
        """Makes the samples of the rows of its source, in their order."""
        get, write = _function(self.value), self.write

        def numbers(rows: list[Row]) -> list[Sample]:
            return [(labels, write(value)) for labels, row in rows if (value := get(row)) is not None]

        def infos(rows: list[Row]) -> list[Sample]:
            samples = [(labels, get(row)) for labels, row in rows]
            return [((*labels, more) if isinstance(more, str) else labels + more, "1") for labels, more in samples if more]

        if self.kind != "info":
            return numbers
        return infos if self.more else lambda rows: [(labels, "1") for labels, _ in rows]


def band(
    name: str, text: str, behaviour: str, source: Source, value: Getter = itself, write: Callable[[Any], str] = real,
    confidence: str = " 95 %",
) -> tuple[Signal, Signal, Signal]:  # fmt: skip
    """The signals of a `ConfidenceInterval`: its value, and its bounds by names in `_lower` and `_upper`; {} in `text`."""
    intervals = derive(source, value)

    def signal(end: str, words: str, part: str) -> Signal:
        return Signal(name + end, text.format(words), behaviour, intervals, part, text=write)

    return (
        signal("", "", "value"),
        signal("_lower", f", lower{confidence} bound", "low"),
        signal("_upper", f", upper{confidence} bound", "high"),
    )


def flag(value: bool) -> str:
    """1 or 0."""
    return "1" if value else "0"


def _function(getter: Getter) -> Callable[[Any], Any]:
    return attrgetter(getter) if isinstance(getter, str) else getter
