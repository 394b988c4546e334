"""A reading of an endpoint's engines at one instant. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from energy_agent.core.errors import WattlensError
from energy_agent.core.workloads.tokens import Latencies


class EndpointError(WattlensError):
    """A metrics page could not be fetched or read."""


@dataclass(frozen=True, slots=True)
class EngineReading:
    """Values of one engine for one model; what is not on the page is in no mapping.

    Args:
        engine: values of the labels that distinguish engines; empty for a single engine.
        counts: counters by their field of `TokenDelta`.
        gauges: requests that run and wait.
        latencies: histograms by field, those of tokens per request included.
        unreadable: fields that are on the page with a value that cannot be one: negative, not a number, past 2^53, or twice.
        started_s: UTC s at which the counters began.
        rank: whose copy of the counters this is.
    """

    engine: str
    counts: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, int] = field(default_factory=dict)
    latencies: Mapping[str, Latencies] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    started_s: float | None = None
    rank: str = ""


@dataclass(frozen=True, slots=True)
class ModelReading:
    """All engines of one model on one page; `names` are those that its values were read under."""

    t_ns: int
    model: str
    engines: tuple[EngineReading, ...]
    names: Mapping[str, str] = field(default_factory=dict)
