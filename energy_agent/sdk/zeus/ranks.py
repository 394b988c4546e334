"""The ranks of a training job, as PyTorch knows them. PyTorch is not imported: if it is not loaded, there is one process.

A message of one rank to all others uses a collective of the default process group, so all ranks have to call it at the same
step of the training.
"""

import itertools
import sys
import time
from collections import deque
from statistics import median
from typing import Any

from energy_agent.sdk.ranks import initialized_torch

_AGAIN_S = 0.5  # ranks look together about so often whether something has come


def _distributed() -> Any:
    """`torch.distributed` where it is initialised for more than one rank, else None."""
    distributed = initialized_torch()
    return distributed if distributed is not None and distributed.get_world_size() > 1 else None


def rank() -> int:
    """Of this process; 0 where it is alone."""
    distributed = _distributed()
    return 0 if distributed is None else int(distributed.get_rank())


class RankConsensus:
    """What ranks put together, and rank 0's word on when they do so again.

    Args:
        profile_steps: the least steps of a window.
        min_window_s: the least seconds of it.
    """

    def __init__(self, profile_steps: int, min_window_s: float) -> None:
        self._profile_steps, self._min_window_s = profile_steps, min_window_s
        self._began_s: deque[float] = deque(maxlen=16)  # the last steps
        self.again = 1  # steps until ranks look together again
        self.steps = profile_steps  # of a window: enough for the agent to read its GPUs a few times

    def step_begins(self) -> None:
        """A step begins on this rank."""
        self._began_s.append(time.perf_counter())

    def together(self, mine: Any) -> list[Any]:
        """What each rank brings, in the order of ranks: every rank calls it at the same step, and waits for the others."""
        marks = list(self._began_s)
        step_s = max(1e-6, median(b - a for a, b in itertools.pairwise(marks))) if len(marks) > 1 else 1.0
        steps = max(self._profile_steps, min(100_000, round(self._min_window_s / step_s)))
        distributed = _distributed()
        if distributed is None:
            self.steps = steps
            return [mine]
        again = min(1000, max(1, round(_AGAIN_S / step_s)))
        contributions: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(contributions, (mine, again, steps))
        _, self.again, self.steps = contributions[0]
        return [each[0] for each in contributions]


def synchronize() -> None:
    """Wait for what this process has launched on its GPU, where CUDA is up."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
