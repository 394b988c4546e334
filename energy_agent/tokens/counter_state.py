"""Counters of an endpoint as the journal stores them. Pure; invalid text is rejected as a whole."""

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from energy_agent.core.workloads.tokens import Latencies
from energy_agent.tokens.server_spec import COUNTS, FIELDS, HISTOGRAMS, LATENCIES, LENGTHS

VERSION: Final = 2
_ENGINE = 9


def _histogram(value: Latencies) -> Latencies:
    numbers = (*value.edges, value.sum_s, *value.counts)
    if not all(isfinite(number) and number >= 0 for number in numbers) or len(value.counts) != len(value.edges) + 1:
        raise ValueError("histogram with negative or infinite values, or a wrong number of buckets")
    if list(value.edges) != sorted(set(value.edges)):
        raise ValueError("histogram with unsorted bucket edges")
    return value


Count = Annotated[int, Field(ge=0)]
_CountKey = Annotated[str, Field(pattern=f"^({'|'.join(COUNTS)})$")]
_LatencyKey = Annotated[str, Field(pattern=f"^({'|'.join(HISTOGRAMS)})$")]
_NameKey = Annotated[str, Field(pattern=f"^({'|'.join((*FIELDS, 'started'))})$")]
_Histogram = Annotated[Latencies, AfterValidator(_histogram)]


@dataclass(slots=True)
class EngineCounters:
    """An engine's counters at its last reading. A counter with the value None is unknown: the next reading is its zero point.

    Args:
        from_zero: a counter that does not exist yet starts at zero when it appears.
    """

    counts: dict[_CountKey, Count | None] = field(default_factory=dict)
    latencies: dict[_LatencyKey, _Histogram | None] = field(default_factory=dict)
    started_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    rank: str | None = None
    from_zero: bool = True

    @property
    def size(self) -> int:
        """Numbers that it holds; the object itself is as large as _ENGINE of them."""
        return _ENGINE + len(self.counts) + sum(0 if each is None else len(each.counts) for each in self.latencies.values())


@dataclass(slots=True)
class ModelCounters:
    """A model's engines, the names that their values were read under, and what they did since the page was first read."""

    engines: dict[str, EngineCounters] = field(default_factory=dict)
    names: dict[_NameKey, str] = field(default_factory=dict)
    counts: dict[_CountKey, Count] = field(default_factory=dict)
    latencies: dict[_LatencyKey, _Histogram] = field(default_factory=dict)
    read_ns: Count = 0
    running: Count | None = None
    waiting: Count | None = None

    @property
    def size(self) -> int:
        """Numbers that its totals hold."""
        return len(self.counts) + sum(len(each.counts) for each in self.latencies.values())

    def copy(self) -> "ModelCounters":
        """One that may change while this one does not."""
        engines = {
            name: replace(engine, counts=dict(engine.counts), latencies=dict(engine.latencies))
            for name, engine in self.engines.items()
        }
        return replace(self, engines=engines, names=dict(self.names), counts=dict(self.counts), latencies=dict(self.latencies))


@dataclass(slots=True)
class EndpointState:
    """The models of a metrics endpoint; `read_ns` has the value None before the first reading."""

    read_ns: int | None = None
    models: dict[str, ModelCounters] = field(default_factory=dict)


@dataclass(slots=True)
class _Saved:
    """An `EndpointState` in the journal."""

    version: Literal[2]
    read_ns: Count | None
    models: dict[str, ModelCounters]


_SAVED = TypeAdapter(_Saved)


def encode(standing: EndpointState) -> str:
    """As JSON, without tokens per request: only figures that start again with the agent use them."""
    models = {name: _without_lengths(model) for name, model in standing.models.items()}
    return _SAVED.dump_json(_Saved(VERSION, standing.read_ns, models)).decode()


def _without_lengths(model: ModelCounters) -> ModelCounters:
    engines = {
        name: replace(engine, latencies={key: of for key, of in engine.latencies.items() if key in LATENCIES})
        for name, engine in model.engines.items()
    }
    return replace(model, engines=engines, names={key: name for key, name in model.names.items() if key not in LENGTHS})


def decode(text: str) -> EndpointState:
    """What `encode` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        saved = _SAVED.validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(f"not the counters of a metrics endpoint: {error.errors(include_url=False)[0]['msg']}") from None
    for model in saved.models.values():
        for engine in model.engines.values():
            engine.latencies |= dict.fromkeys(LENGTHS)  # unknown: the next reading is their zero point
    return EndpointState(saved.read_ns, saved.models)
