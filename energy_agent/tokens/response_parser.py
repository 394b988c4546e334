"""Parse the /metrics response of any inference server by its `TokenServer`. Pure; the response is untrusted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from energy_agent.core.workloads.tokens import Latencies
from energy_agent.tokens.reading import EndpointError, EngineReading, ModelReading
from energy_agent.tokens.series import count, latencies, series
from energy_agent.tokens.server_spec import COUNTS, GAUGES, HISTOGRAMS, Name, TokenServer

MODELS_LIMIT = 64
ENGINES_LIMIT = 256  # of one model
_SCALE = {"s": 1.0, "ms": 1e-3}
Part = Literal["", "_bucket", "_sum"]


@dataclass(slots=True)
class _Slot:
    """What one name has for one engine: values by series, and buckets by series without `le`."""

    values: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)
    buckets: dict[tuple[tuple[str, str], ...], dict[str, float]] = field(default_factory=dict)
    twice: bool = False

    def put(self, part: Part, labels: Mapping[str, str], value: float) -> None:
        """Take a line. A series that is there twice makes the value unreadable: either may be right, their sum is not."""
        le = labels.get("le", "") if part == "_bucket" else ""
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le")) if part else tuple(sorted(labels.items()))
        where = self.buckets.setdefault(key, {}) if part == "_bucket" else self.values
        at = le if part == "_bucket" else key
        self.twice = self.twice or at in where
        where[at] = value  # type: ignore[index]


_Place = tuple[str, int]  # field, and place among its names
_Rank = tuple[int, ...]
_Engine = dict[_Place, dict[_Rank, _Slot]]


def read(server: TokenServer, page: str, t_ns: int, model: str = "") -> list[ModelReading]:
    """One reading a model on the page, sorted by model, with each of its engines.

    A value that is negative, not a number, past 2^53 or there twice is unreadable: it silences no other.

    Args:
        server: how to read it.
        page: in Prometheus text format.
        t_ns: UTC ns at which it was fetched.
        model: name of the model, in place of the page's.

    Raises:
        EndpointError: none of the server's series is there, a line of them is broken, or there are too many models or engines.
    """
    wanted = _index_names(_Key(server))
    engines_by_model: dict[str, dict[str, _Engine]] = {}
    for line in series(page, wanted):
        for part, value, place, name in wanted[line.name]:
            if not all(line.labels.get(label) in values for label, values in name.where.items()):
                continue
            engines = engines_by_model.setdefault(model or line.labels.get(server.model_label, ""), {})
            engine = engines.setdefault("/".join(line.labels.get(label, "") for label in server.engine_labels).strip("/"), {})
            if len(engines_by_model) > MODELS_LIMIT:
                raise EndpointError(f"response has more than {MODELS_LIMIT} models")
            if len(engines) > ENGINES_LIMIT:
                raise EndpointError(f"response has more than {ENGINES_LIMIT} engines of one model")
            rank = tuple(_rank(line.labels.get(label, "")) for label in server.copies)
            engine.setdefault((value, place), {}).setdefault(rank, _Slot()).put(part, line.labels, line.value)
    if not engines_by_model:
        counter = "generation" if server.generation else "requests"
        names = sorted({str(n.name) for value, _, n in server.names() if value == counter})
        raise EndpointError(f"response has no metric {' or '.join(names)}; is this the metrics endpoint of {server.summary}?")
    return [_model(server, t_ns, name, engines) for name, engines in sorted(engines_by_model.items())]


def names_of(server: TokenServer) -> tuple[str, ...]:
    """Names of the lines that `read` reads."""
    return tuple(_index_names(_Key(server)))


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """A server as a key of the cache, by which object it is."""

    server: TokenServer

    def __hash__(self) -> int:
        return id(self.server)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.server is other.server


@lru_cache(maxsize=64)
def _index_names(key: _Key) -> dict[str, list[tuple[Part, str, int, Name]]]:
    """What each name of a line is for."""
    wanted: dict[str, list[tuple[Part, str, int, Name]]] = {}
    for value, place, name in key.server.names():
        parts: tuple[Part, ...] = ("_bucket", "_sum") if value in HISTOGRAMS else ("",)
        for part in parts:
            wanted.setdefault(name.name + part, []).append((part, value, place, name))
    return wanted


def _rank(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _model(server: TokenServer, t_ns: int, model: str, engines: Mapping[str, _Engine]) -> ModelReading:
    """The readings of a model. A value has several names; all engines are read by the first that any of them has."""
    places: dict[str, int] = {}
    for engine in engines.values():
        for value, place in engine:
            places[value] = min(place, places.get(value, place))
    readings = tuple(_engine(server, name, engine, places) for name, engine in sorted(engines.items()))
    return ModelReading(t_ns, model, readings, {value: str(getattr(server, value)[place]) for value, place in places.items()})


def _engine(server: TokenServer, name: str, engine: _Engine, places: Mapping[str, int]) -> EngineReading:
    ranks = {value: min(engine[value, place]) for value, place in places.items() if (value, place) in engine}
    chosen = {value: engine[value, places[value]][rank] for value, rank in ranks.items()}
    counts = {value: _whole(chosen[value]) for value in (*COUNTS, *GAUGES) if value in chosen}
    times = {
        value: _times(chosen[value], _SCALE[getattr(server, value)[places[value]].unit], exact_sums=server.exact_sums)
        for value in HISTOGRAMS
        if value in chosen
    }
    starts = chosen["started"].values.values() if "started" in chosen else ()
    return EngineReading(
        name,
        {value: n for value in COUNTS if (n := counts.get(value)) is not None},
        {value: n for value in GAUGES if (n := counts.get(value)) is not None},
        {value: t for value in HISTOGRAMS if (t := times.get(value)) is not None},
        frozenset(value for value, got in (*counts.items(), *times.items()) if got is None),
        max((s for s in starts if count(s) is not None), default=None),
        "/".join(map(str, max(ranks.values(), default=()))),
    )


def _whole(slot: _Slot) -> int | None:
    return None if slot.twice else _sum(count(value) for value in slot.values.values())


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for each in counts:
        if each is None:
            return None
        total += each
    return total


def _times(slot: _Slot, scale: float, *, exact_sums: bool) -> Latencies | None:
    """The sum of a histogram's series, where all have the same edges."""
    if slot.twice:
        return None
    total: Latencies | None = None
    for key, cumulated in slot.buckets.items():
        each = latencies(cumulated, slot.values.get(key), scale)
        if each is None or (total is not None and total.edges != each.edges):
            return None
        total = each if total is None else total.plus(each)
    return total if total is None or exact_sums else replace(total, is_sum_exact=False)
