"""What Zeus's users know as zeus.optimizer.power_limit, with settings that go through the node's agent and its actuator.

    from wattlens.zeus import GlobalPowerLimitOptimizer, MaxSlowdownConstraint
    optimizer = GlobalPowerLimitOptimizer(optimum_selector=MaxSlowdownConstraint(1.05))

Names, arguments and callbacks are Zeus's (0.16.0). The training needs no privilege. The original settings are restored after
any crash. A setting that cannot be applied is reported once on stderr, and the training goes on. docs/zeus.md describes how to
switch, and the differences.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_agent.sdk.zeus import profile
from energy_agent.sdk.zeus.machine import LimitSweepPlan, Machine
from energy_agent.sdk.zeus.power_limit import PowerLimitClient
from energy_agent.sdk.zeus.ranks import RankConsensus
from energy_agent.sdk.zeus.selection import (
    Energy,
    MaxSlowdownConstraint,
    OptimumSelector,
    PowerLimitMeasurement,
    Time,
    ZeusCost,
)

if TYPE_CHECKING:
    HFGlobalPowerLimitOptimizer: Any

__all__ = [
    "Energy",
    "GlobalPowerLimitOptimizer",
    "MaxSlowdownConstraint",
    "OptimumSelector",
    "PowerLimitMeasurement",
    "Time",
    "ZeusCost",
]


class GlobalPowerLimitOptimizer:
    """Measures a training job at each power limit from the highest down, and keeps the one that the selector picks.

    Args:
        monitor: of no use here: the agent measures, and knows which GPUs the job holds. Taken, so that calls need no change.
        optimum_selector: which limit to keep; by default ZeusCost(0.5) for all GPUs of the job.
        wait_steps: steps that pass before anything is done.
        warmup_steps: steps at a limit before it is measured.
        profile_steps: steps of a measurement.
        pl_step: distance between limits, in W.
        profile_path: a file with the measurements of an earlier run, Zeus's or ours: none are made then. One that is not
            there is written at the end.
        min_window_s: a measurement takes this long at least, so more steps where they are short: the agent reads its GPUs
            once a second.

    Every rank of a job has one. After the sweep `measurements` and `optimal_power_limit_w` hold the result.

    Raises:
        ValueError: an argument that cannot be, or a profile_path that holds no profile. Nothing raises afterwards.
    """

    def __init__(
        self,
        monitor: object = None,
        optimum_selector: OptimumSelector | None = None,
        wait_steps: int = 1,
        warmup_steps: int = 10,
        profile_steps: int = 40,
        pl_step: int = 25,
        profile_path: str | Path | None = None,
        *,
        min_window_s: float = 3.0,
    ) -> None:
        lowest = {"wait_steps": (wait_steps, 0), "warmup_steps": (warmup_steps, 0), "profile_steps": (profile_steps, 1)}
        for name, (value, least) in lowest.items():
            if value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value!r}")
        if not pl_step > 0:
            raise ValueError(f"pl_step: expected more than 0 W, got {pl_step!r}")
        self.monitor, self.optimum_selector = monitor, optimum_selector
        self.warmup_steps, self.profile_steps, self.pl_step = warmup_steps, profile_steps, pl_step
        self.profile_path = None if profile_path is None else Path(profile_path)
        known = profile.read(self.profile_path) if self.profile_path is not None and self.profile_path.exists() else []
        plan = LimitSweepPlan(optimum_selector, wait_steps, warmup_steps, pl_step, known, self.profile_path)
        self._machine = Machine(plan, PowerLimitClient(), RankConsensus(profile_steps, min_window_s))

    def on_step_begin(self) -> None:
        """A step of training begins."""
        self._safely(self._machine.step_begins)

    def on_step_end(self) -> None:
        """Nothing is done at the end of a step."""

    def on_epoch_begin(self) -> None:
        """Nothing is done at the begin of an epoch."""

    def on_epoch_end(self) -> None:
        """An epoch ended: the present measurement is repeated in the next one."""
        self._safely(self._machine.epoch_ends)

    def on_train_begin(self) -> None:
        """Nothing is done at the begin."""

    def on_train_end(self) -> None:
        """Training ended: the GPUs go back to what they were found at."""
        self._safely(self._machine.train_ends)

    def on_evaluate(self, metric: float) -> None:
        """Nothing is done at an evaluation."""

    @property
    def measurements(self) -> list[PowerLimitMeasurement]:
        """What was measured, from the highest limit down; empty before the sweep is over."""
        return list(self._machine.measurements)

    @property
    def done(self) -> bool:
        """Whether the sweep is over."""
        return self._machine.doing == "Done"

    @property
    def optimal_power_limit_w(self) -> int | None:
        """The limit that is kept, in W; None: not chosen yet, or the original setting stays."""
        return self._machine.optimal_w

    def _safely(self, event: Callable[[], None]) -> None:
        try:
            event()
        except BaseException as error:
            self._machine.give_up()  # a sweep that was interrupted amid a step cannot go on from there
            if not isinstance(error, Exception):  # other errors must not end the training
                raise
            sys.stderr.write(f"wattlens: power limits are no longer optimized: {type(error).__name__}: {error}\n")


class _Events:
    """Zeus's HFGlobalPowerLimitOptimizer for Hugging Face's Trainer: same arguments as GlobalPowerLimitOptimizer."""

    def __init__(
        self,
        monitor: object = None,
        optimum_selector: OptimumSelector | None = None,
        wait_steps: int = 1,
        warmup_steps: int = 10,
        profile_steps: int = 40,
        pl_step: int = 25,
        profile_path: str | Path | None = None,
        *,
        min_window_s: float = 3.0,
    ) -> None:
        self.optimizer = GlobalPowerLimitOptimizer(
            monitor, optimum_selector, wait_steps, warmup_steps, profile_steps, pl_step, profile_path, min_window_s=min_window_s
        )

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step of the optimizer begins, however many batches it takes."""
        self.optimizer.on_step_begin()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """An epoch ended."""
        self.optimizer.on_epoch_end()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Training ended."""
        self.optimizer.on_train_end()


def __getattr__(name: str) -> Any:
    """`HFGlobalPowerLimitOptimizer`, a `transformers.TrainerCallback`: transformers is imported on first access."""
    if name == "HFGlobalPowerLimitOptimizer":
        base = import_module("transformers").TrainerCallback
        made = globals()[name] = type(name, (_Events, base), {"__doc__": _Events.__doc__})
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
