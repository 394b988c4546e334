"""Interface of sharing policies: their input and output. Pure.

Law of every policy: the parts of an energy sum to it exactly, and none is negative.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from energy_agent.core.energy import State
from energy_agent.core.units import split_integer


@dataclass(frozen=True, slots=True)
class Slice:
    """A MIG device. `holders` is empty where nobody holds it, None where that is not known.

    Args:
        slices: its compute slices.
        sms: its multiprocessors.
        active_ppm: mean share of its SMs that worked; None where that was not measured.
        owners: workload -> weight within it; all 0: equal.
    """

    slices: int
    sms: int
    active_ppm: int | None
    owners: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What is known of who used a device over an interval.

    Args:
        owners: workload -> SM time in any unit.
        measured: the SM time was measured; else the weights say nothing.
        slices: the MIG devices; empty: MIG is off.
        slices_total: compute slices of the GPU.
        base_mw: what the board draws while nothing runs.
        unseen: measured SM time of processes whose workload is not known.
    """

    owners: Mapping[str, int]
    measured: bool = False
    slices: tuple[Slice, ...] = ()
    slices_total: int = 0
    base_mw: int = 0
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class SharedEnergy:
    """Energy to be shared. `active` is False where no kernel ran; None: not known."""

    energy_uj: int
    duration_ns: int
    active: bool | None = None

    @property
    def held_state(self) -> State:
        """Idle has to be proven."""
        return State.IDLE if self.active is False else State.ACTIVE


@dataclass(frozen=True, slots=True)
class WorkloadShare:
    """What a workload gets, or with workload "" one of the states that nobody owns. `time` is its share of device time."""

    workload: str
    state: State
    energy_uj: int
    time: int

    @property
    def owner(self) -> str:
        """Names who gets it: a workload, or a state."""
        return self.workload or str(self.state)


@dataclass(frozen=True, slots=True)
class SharingPolicy:
    """A way to share.

    Args:
        help: one line for people.
        rank: of the policies that apply, the one of the lowest rank is applied.
        applies: whether enough is known for it.
        divide: the parts of an interval's energy.
        settles: whether what it divides by is measured, so that later measurements correct it.
    """

    help: str
    rank: int
    applies: Callable[[DeviceUse], bool]
    divide: Callable[[SharedEnergy, DeviceUse], list[WorkloadShare]]
    settles: bool = False
    name: str = field(default="")


def by_weight(shared: SharedEnergy, weights: Mapping[str, int], unseen: int = 0) -> list[WorkloadShare]:
    """Every workload's part in proportion to its weight; equal parts where all are 0.

    What goes with the weight `unseen` is unattributed energy; the device's time is that of its holders.

    >>> [(part.workload, part.energy_uj) for part in by_weight(SharedEnergy(100, 1_000_000_000), {"a": 2, "b": 1})]
    [('a', 67), ('b', 33)]
    """
    names = sorted(weights)
    values = [weights[name] for name in names]
    times = values if any(values) else [1] * len(values)
    *energies, unseen_uj = split_integer(shared.energy_uj, [*(values if unseen else times), unseen])
    state = shared.held_state
    parts = [WorkloadShare(name, state, uj, time) for name, uj, time in zip(names, energies, times, strict=True)]
    return [*parts, WorkloadShare("", State.UNKNOWN_OWNER, unseen_uj, 0)] if unseen else parts


def equally(shared: SharedEnergy, workloads: Iterable[str]) -> list[WorkloadShare]:
    """The same part for every workload."""
    return by_weight(shared, dict.fromkeys(workloads, 1))
