"""Clocks that are held all the time, to compare policies with in a replay. Pure."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dvfs.replay.serving.engine import Stream
from dvfs.replay.serving.fleet import Outcome, fixed
from dvfs.replay.serving.server import Rates, Server

if TYPE_CHECKING:
    from dvfs.replay.serving.steered import Steer


def best_fixed(
    server: Server,
    dealt: Sequence[Stream],
    grid: Sequence[Rates],
    allowed: int,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Rates, Outcome]:
    """The clock of least energy that can be held all the time with no more than `allowed` misses, and what it does.

    The highest one where none can. `grid` rises. It is chosen with the trace known: nobody could have chosen it beforehand.
    """
    tried = []
    for rates in grid:
        progress(f"{rates.lock_mhz} MHz all the time")
        tried.append((rates, fixed(server, dealt, rates)))
    within = [one for one in tried if one[1].failed <= allowed]
    return min(within, key=lambda one: one[1].energy_j) if within else tried[-1]


def held(lock_mhz: int) -> "Callable[[], Steer]":
    """One clock all the time, whatever comes, as `nvidia-smi -lgc` would hold it: the static knee.

    Policy `static` does more: it lets go while a queue grows.
    """

    def make() -> "Steer":
        return lambda _seen, _busy_ratio: lock_mhz

    return make
