"""`steered`: a training job over several nodes is steered as one, since one slow rank slows all.

    steer = wattlens.steered()
    for batch in data:
        train_step(batch)
        steer.step()

Rank 0 says to its node's agent that the whole job is led from there, and its agent steers the GPUs it has. What is applied on
them goes to all ranks with a broadcast, every few seconds, and each other node asks its own agent for just that.
"""

import math
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from energy_agent.sdk.ranks import initialized_torch, place_of
from energy_agent.sdk.steering.request import Speaker
from energy_agent.sdk.training.step_counter import hint

_FIRST_STEPS = 8  # after the first broadcast, while it is not known how long a step takes
_GROWTH = 8  # from one broadcast to the next
_MOST_STEPS = 1_000_000


class steered:  # noqa: N801 - reads as a statement: steer = wattlens.steered()
    """Made once on every rank, before the loop; `step()` at the end of every step, on every rank alike.

    Args:
        broadcast: gives on every rank what rank 0 handed to it (a dict of plain values; other ranks hand it None), such as
            mpi4py's `comm.bcast`. By default `torch.distributed.broadcast_object_list` of the default process group.
        every_s: about so often it is called. Ranks agree on the step, so it is the same on all.
        rank: of this process; by default what torch.distributed says, else the launcher.

    It never raises. Between two broadcasts a step costs less than a microsecond and waits for nothing.

    >>> with steered(broadcast=lambda message: message, rank=0) as steer:  # one rank; mpi4py: comm.bcast
    ...     steer.step()
    >>> steer.setting
    {}
    """

    def __init__(self, broadcast: Callable[[Any], Any] | None = None, *, every_s: float = 5.0, rank: int | None = None) -> None:
        self._broadcast, self._every_s, self._rank = broadcast, every_s, rank
        self._steps_left: float = 1  # steps until the next broadcast
        self._steps, self._met_s = 0, 0.0  # since the last one, and when that was
        self._speaker: Speaker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def step(self) -> None:
        """A step is done."""
        self._steps_left -= 1
        if self._steps_left > 0:
            return
        try:
            self._meet()
        except Exception as error:  # noqa: BLE001 - no business of the training
            hint(f"this job is no longer steered across its nodes: {type(error).__name__}: {error}")
            self._steps_left = math.inf
            self.close()

    def close(self) -> None:
        """Ask for nothing more; the GPUs go back to what they were found at."""
        self._steps_left = math.inf
        if self._speaker is not None:
            self._speaker.stop()

    @property
    def setting(self) -> dict[str, float]:
        """Settings applied on rank 0's node at the last broadcast: sm_clock_max_mhz, power_limit_w; {}: the original ones."""
        return {} if self._speaker is None else dict(self._speaker.setting)

    def _meet(self) -> None:
        if self._speaker is None:
            self._rank, self._broadcast = _rank(self._rank), self._broadcast or _by_torch
            self._speaker = Speaker(leads=self._rank == 0)
            self._speaker.start()
        message = self._speaker.message(self._next()) if self._rank == 0 else None
        assert self._broadcast is not None
        heard = self._broadcast(message)
        self._steps = self._steps_left = int(heard["steps"])
        self._met_s = time.monotonic()
        self._speaker.heard(str(heard["node"]), heard["setting"])

    def _next(self) -> int:
        """How many steps make `every_s`, as the last ones went."""
        if not self._steps:
            return _FIRST_STEPS
        steps = round(self._every_s * self._steps / max(1e-9, time.monotonic() - self._met_s))
        return max(1, min(steps, _GROWTH * self._steps, _MOST_STEPS))


def _rank(rank: int | None) -> int:
    if rank is not None:
        return rank
    distributed = initialized_torch()
    return place_of(os.environ).rank if distributed is None else int(distributed.get_rank())


def _by_torch(message: Any) -> Any:
    """Rank 0's message, by the default process group; without a group, this process has to be the only one."""
    distributed = initialized_torch()
    if distributed is None:
        if place_of(os.environ).world > 1:
            raise RuntimeError("torch.distributed is not initialized: call step() after its initialization, or pass broadcast=")
        return message
    box = [message]
    distributed.broadcast_object_list(box, src=0)
    return box[0]
