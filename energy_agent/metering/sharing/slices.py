"""Shares of MIG devices: power at rest by compute slices, power above that by a policy. Pure.

Slices without an owner or without a MIG device get their part of the resting power too, which is unallocated.
"""

from collections.abc import Sequence

from energy_agent.core.energy import State
from energy_agent.core.meters.difference import energy_uj
from energy_agent.core.units import split_integer
from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, Slice, WorkloadShare


def divide(shared: SharedEnergy, use: DeviceUse, dynamic: Sequence[int], states: Sequence[State]) -> list[WorkloadShare]:
    """Parts of the owners of `known.slices`, whose weights in what is above the resting power are `dynamic`.

    `states` are those of their holders' parts. Where no slice weighs anything, all is shared by slices.
    """
    slices = use.slices
    rest = max(0, use.slices_total - sum(s.slices for s in slices))
    static = [*(s.slices for s in slices), rest]
    above_uj = 0
    if any(dynamic):
        above_uj = max(0, shared.energy_uj - energy_uj(use.base_mw, shared.duration_ns))
    energies = split_integer(shared.energy_uj - above_uj, static)
    for place, uj in enumerate(split_integer(above_uj, list(dynamic)) if slices else []):
        energies[place] += uj
    parts: dict[tuple[str, State], WorkloadShare] = {}
    for item, uj, state in zip(slices, energies, states, strict=False):
        for part in _of_slice(item, uj, state):
            _add(parts, part)
    _add(parts, WorkloadShare("", State.UNALLOCATED, energies[-1], rest * _TIME))
    return [part for part in parts.values() if part.workload or part.energy_uj or part.time]


_TIME = 840  # a slice's device time, in parts that up to eight owners divide evenly


def _of_slice(item: Slice, uj: int, state: State) -> list[WorkloadShare]:
    time = item.slices * _TIME
    if item.owners is None:
        return [WorkloadShare("", State.UNKNOWN_OWNER, uj, time)]
    if not item.owners:  # at work without a process that is seen: somebody's, but not known whose
        return [WorkloadShare("", State.UNKNOWN_OWNER if item.active_ppm else State.UNALLOCATED, uj, time)]
    names = sorted(item.owners)
    weights = [item.owners[name] for name in names]
    shares = zip(names, split_integer(uj, weights), split_integer(time, weights), strict=True)
    return [WorkloadShare(name, state, energy, time_ns) for name, energy, time_ns in shares]


def _add(parts: dict[tuple[str, State], WorkloadShare], part: WorkloadShare) -> None:
    key = (part.workload, part.state)
    previous = parts.get(key)
    if previous is not None:
        part = WorkloadShare(*key, previous.energy_uj + part.energy_uj, previous.time + part.time)
    parts[key] = part
