"""Where the counters of a page stand, as the journal keeps it. Pure; a text that is not one is refused, never half taken."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from energy_agent.core.tokens import Latencies
from energy_agent.tokens.server_spec import COUNTS, FIELDS, LATENCIES

VERSION = 2
_ENGINE = 9


@dataclass(slots=True)
class Engine:
    """An engine's counters at its last reading. What is None is not known: the next reading is its zero point.

    Args:
        from_zero: what is not there yet has not counted before it comes up.
    """

    counts: dict[str, int | None] = field(default_factory=dict)
    latencies: dict[str, Latencies | None] = field(default_factory=dict)
    started_s: float | None = None
    rank: str | None = None
    from_zero: bool = True

    @property
    def size(self) -> int:
        """Numbers that it holds; the object itself is as large as _ENGINE of them."""
        return _ENGINE + len(self.counts) + sum(0 if each is None else len(each.counts) for each in self.latencies.values())


@dataclass(slots=True)
class Model:
    """A model's engines, the names that their values were read under, and what they did since the page was first read."""

    engines: dict[str, Engine] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    latencies: dict[str, Latencies] = field(default_factory=dict)
    read_ns: int = 0
    running: int | None = None
    waiting: int | None = None

    @property
    def size(self) -> int:
        """Numbers that its totals hold."""
        return len(self.counts) + sum(len(each.counts) for each in self.latencies.values())

    def copy(self) -> "Model":
        """One that may change while this one does not."""
        engines = {
            name: replace(engine, counts=dict(engine.counts), latencies=dict(engine.latencies))
            for name, engine in self.engines.items()
        }
        return replace(self, engines=engines, names=dict(self.names), counts=dict(self.counts), latencies=dict(self.latencies))


@dataclass(slots=True)
class Standing:
    """A page's models; `read_ns` is None before the first reading."""

    read_ns: int | None = None
    models: dict[str, Model] = field(default_factory=dict)


def encode(standing: Standing) -> str:
    """As JSON."""
    return json.dumps({"version": VERSION, **asdict(standing)}, separators=(",", ":"))


def decode(text: str) -> Standing:
    """What `encode` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        found = json.loads(text)
        if found["version"] != VERSION:
            raise ValueError(f"version {found['version']!r}")
        read_ns = None if found["read_ns"] is None else _count(found["read_ns"])
        return Standing(read_ns, {_text(name): _model(model) for name, model in found["models"].items()})
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"not the counters of a metrics page: {error}") from error


def _model(found: Mapping[str, Any]) -> Model:
    return Model(
        {_text(name): _engine(engine) for name, engine in found["engines"].items()},
        {_key(key, (*FIELDS, "started")): _text(name) for key, name in found["names"].items()},
        {_key(key, COUNTS): _count(n) for key, n in found["counts"].items()},
        {_key(key, LATENCIES): _latencies(h) for key, h in found["latencies"].items()},
        _count(found["read_ns"]),
    )


def _engine(found: Mapping[str, Any]) -> Engine:
    started = found["started_s"]
    return Engine(
        {_key(key, COUNTS): None if n is None else _count(n) for key, n in found["counts"].items()},
        {_key(key, LATENCIES): None if h is None else _latencies(h) for key, h in found["latencies"].items()},
        None if started is None else _number(started),
        None if found["rank"] is None else _text(found["rank"]),
        from_zero=bool(found["from_zero"]),
    )


def _latencies(found: Mapping[str, Any]) -> Latencies:
    edges, counts = tuple(map(_number, found["edges"])), tuple(map(_count, found["counts"]))
    if list(edges) != sorted(set(edges)) or len(counts) != len(edges) + 1:
        raise ValueError("a histogram that is none")
    return Latencies(edges, counts, _number(found["sum_s"]))


def _key(key: str, known: tuple[str, ...]) -> str:
    if key not in known:
        raise ValueError(f"no field {key!r}")
    return key


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("not a count")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError("not a number")
    return float(value)
