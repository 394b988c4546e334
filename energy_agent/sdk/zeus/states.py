"""The states of a sweep over power limits, and what it is made of.

Meeting -> Asking -> Warmup -> Profiling -> Asking ... -> Collecting -> Done. An epoch that ends amid a limit leads to Ready,
from which that limit is asked for anew. `steps` counts down at the begin of each step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_agent.sdk.zeus.power_limit import Spent
from energy_agent.sdk.zeus.selection import OptimumSelector, PowerLimitMeasurement


@dataclass(slots=True)
class Meeting:
    """The agent is asked what there is; `steps` until ranks look together."""

    steps: int
    since_s: float | None = None


@dataclass(slots=True)
class Ready:
    """A limit is asked for at the begin of a step."""

    asked_w: float
    steps: int = 1


@dataclass(slots=True)
class Asking:
    """A limit was asked for and is not in force yet."""

    asked_w: float
    steps: int
    since_s: float


@dataclass(slots=True)
class Warmup:
    """A limit is in force; `steps` until it is measured. `asked_w` None: everything is as found."""

    asked_w: float | None
    limit_w: float
    steps: int


@dataclass(slots=True)
class Profiling:
    """A window is open; `steps` until it is closed."""

    asked_w: float | None
    limit_w: float
    steps: int
    begun_ns: int
    begun_s: float


@dataclass(slots=True)
class Collecting:
    """All windows are closed; the energy of the last ones is not known yet."""

    steps: int
    since_s: float


@dataclass(slots=True)
class Done:
    """What there was to measure is measured. `optimal_w` None: everything stays as found."""

    optimal_w: int | None
    since_s: float
    looked: bool = False


State = Meeting | Ready | Asking | Warmup | Profiling | Collecting | Done


@dataclass(frozen=True, slots=True)
class Window:
    """A limit that was measured: its time on the slowest rank, and the energy of this rank's GPUs to come."""

    limit_w: int
    time_s: float
    spent: Spent


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted: `selector` None is the default one, `profile` are measurements of an earlier run, `path` their file."""

    selector: OptimumSelector | None
    wait_steps: int
    warmup_steps: int
    step_w: float
    profile: Sequence[PowerLimitMeasurement] = ()
    path: Path | None = None
