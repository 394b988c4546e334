"""What a serving engine said about its tokens at one instant, and what happened between two such instants. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from energy_agent.core.errors import WattlensError

TOKEN_STATE = "tokens/"  # noqa: S105 - tokens of a language model
"""Begins the key of a server's last reading among the journal's states; workload and model follow."""


class TokenPageError(WattlensError):
    """A metrics page could not be fetched or read."""


@dataclass(frozen=True, slots=True)
class TokenReading:
    """Counters of one model on one engine page, summed over its engines; None where the page does not have the value.

    `prompt` counts every prompt token, those found in the prefix cache included; `cached` counts the latter alone. Sums of
    latencies are in seconds. `started_s` (UTC s) is when the counters began, where the page tells.
    """

    t_ns: int
    model: str
    prompt: int | None = None
    generation: int | None = None
    cached: int | None = None
    running: int | None = None
    waiting: int | None = None
    ttft_sum_s: float | None = None
    ttft_count: int | None = None
    itl_sum_s: float | None = None
    itl_count: int | None = None
    started_s: float | None = None


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """What one model did over [start_ns, end_ns); None where either reading lacks the value.

    After `restarted` the counts are those since the engine started again: what it did between the first reading and its end
    was never published, so the delta is a lower bound.
    """

    start_ns: int
    end_ns: int
    model: str
    prompt: int | None
    generation: int | None
    cached: int | None
    ttft_sum_s: float | None
    ttft_count: int | None
    itl_sum_s: float | None
    itl_count: int | None
    restarted: bool


@dataclass(frozen=True, slots=True)
class TokenServer:
    """One kind of serving engine. `read` takes the page and its UTC ns, and raises TokenPageError on a page it cannot read."""

    summary: str
    read: Callable[[str, int], list[TokenReading]]


def advance(previous: TokenReading, current: TokenReading) -> TokenDelta:
    """The difference of two readings of one model, with an engine restart between them told apart.

    A restart is a changed start time, or any counter that fell. After one, every counter counts from zero.

    Raises:
        ValueError: the readings are of different models, or not in order of time.
    """
    if previous.model != current.model:
        raise ValueError(f"readings of {previous.model!r} and {current.model!r} do not join")
    if current.t_ns < previous.t_ns:
        raise ValueError("readings are not in order of time")
    restarted = _restarted(previous, current)

    def whole(before: int | None, after: int | None) -> int | None:
        if before is None or after is None:
            return None
        return after if restarted else after - before

    def seconds(before: float | None, after: float | None) -> float | None:
        if before is None or after is None:
            return None
        return after if restarted else after - before

    return TokenDelta(
        start_ns=previous.t_ns,
        end_ns=current.t_ns,
        model=current.model,
        prompt=whole(previous.prompt, current.prompt),
        generation=whole(previous.generation, current.generation),
        cached=whole(previous.cached, current.cached),
        ttft_sum_s=seconds(previous.ttft_sum_s, current.ttft_sum_s),
        ttft_count=whole(previous.ttft_count, current.ttft_count),
        itl_sum_s=seconds(previous.itl_sum_s, current.itl_sum_s),
        itl_count=whole(previous.itl_count, current.itl_count),
        restarted=restarted,
    )


def _restarted(previous: TokenReading, current: TokenReading) -> bool:
    if previous.started_s is not None and current.started_s is not None and previous.started_s != current.started_s:
        return True
    pairs = (
        (previous.prompt, current.prompt),
        (previous.generation, current.generation),
        (previous.cached, current.cached),
        (previous.ttft_count, current.ttft_count),
        (previous.itl_count, current.itl_count),
        (previous.ttft_sum_s, current.ttft_sum_s),
        (previous.itl_sum_s, current.itl_sum_s),
    )
    return any(before is not None and after is not None and after < before for before, after in pairs)
