"""Attribute the energy of an interval to workloads, in whole microjoules that sum to the interval exactly. Pure.

Four disjoint buckets: active, idle, unallocated, and unattributed by reason. Active and idle are distinguished by time: a
kernel ran in the interval or not. A policy of metering/sharing divides a device among several owners, chosen by the available
measurements; docs/attribution.md describes each policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from energy_agent.core.energy import Entry, Interval, Method, MigUse, State
from energy_agent.core.plugin import discover
from energy_agent.core.units import split_integer
from energy_agent.metering.sharing import policies as sharing
from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, Slice
from energy_agent.metering.sharing.settlement import Settlement


@dataclass(frozen=True, slots=True)
class Holding:
    """Who holds a device.

    Args:
        weights: workload -> SM time since the last listing in us; all 0: equal shares. Empty: nobody holds it.
        measured: whether SM time was measured; else a weight of 0 among others only says that this one does not count.
        slices: on a GPU in MIG mode, UUID of each MIG device -> its owners, who are in `weights` too; None: not known.
        unseen: measured SM time in us of processes that came and went between two listings, whose workload nobody saw.
    """

    weights: Mapping[str, int]
    measured: bool = False
    slices: Mapping[str, Mapping[str, int] | None] = field(default_factory=dict)
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What a device is besides its holders: its MIG devices, and in mW what it draws while nothing runs."""

    mig: tuple[MigUse, ...] = ()
    base_mw: int = 0

    def same_devices(self, other: "Shape") -> bool:
        """Whether both have the same MIG devices, however busy."""
        return [device.uuid for device in self.mig] == [device.uuid for device in other.mig]


WHOLE = Shape()


@cache
def policies() -> tuple[SharingPolicy, ...]:
    """Every policy of metering/sharing, in the order in which they are tried."""
    specs = (replace(spec, name=name) for name, spec in discover(sharing).items())
    return tuple(sorted(specs, key=lambda policy: policy.rank))


def policy_for(use: DeviceUse) -> SharingPolicy | None:
    """The policy that applies; None if no workload holds the device."""
    return next((policy for policy in policies() if policy.applies(use)), None)


def known_of(holding: Holding, shape: Shape = WHOLE) -> DeviceUse:
    """The use of a device, as the policies need it."""
    if not (holding.slices and shape.mig):
        return DeviceUse(holding.weights, holding.measured, unseen=holding.unseen)
    slices = tuple(Slice(m.slices, m.sms, m.active_ppm, holding.slices.get(m.uuid, {})) for m in shape.mig)
    return DeviceUse(holding.weights, holding.measured, slices, max(m.slices_total for m in shape.mig), shape.base_mw)


def shares(
    interval: Interval,
    before: Holding | None,
    after: Holding | None,
    reason: State = State.STARTING,
    shape: Shape = WHOLE,
    settlement: Settlement | None = None,
    *,
    closes: bool = False,
) -> list[Entry]:
    """Entries of one interval.

    Args:
        interval: the measured energy.
        before: owners at the interval's start, None when not known.
        after: owners at its end, None when not known.
        reason: why neither is known, `State.STARTING` or `State.UNKNOWN_OWNER`; then everything goes there.
        shape: the device.
        settlement: debts between those who share it, which are paid here.
        closes: what is known was measured over the time since the last interval that closed.

    An interval belongs to who held the device at its start: who comes in it gets nothing of it and who leaves in it gets all of
    it, which evens out and lets a newcomer's counter begin at 0. Shares are by the weights measured over it, if there are any.
    Energy that bridges a gap in our readings stays with an owner only if the same workload is proven at both ends; the rest is
    unattributed, since anyone may have come and gone in between: a device, or a slice of it, that nobody holds at either end
    need not have been idle. Nor is the one reading of utilisation at the end a proof that an owner was.
    """
    if interval.method is Method.BRIDGED:
        if after is None:
            return [_unowned(interval, reason)]
        if before is None or not before.weights or set(before.weights) != set(after.weights):
            return [_unowned(interval, State.GAP)]
        interval = replace(interval, active=interval.active or None)
        shape = replace(shape, mig=tuple(replace(device, active_ppm=None) for device in shape.mig))
    holding = before if before is not None else after
    if holding is None:
        return [_unowned(interval, reason)]
    over = _over(holding, before, after)
    if len(holding.weights) == 1 and not holding.slices and not over.unseen:  # nearly always
        if settlement is not None:
            settlement.forget()
        (workload,) = holding.weights
        # Without a utilisation reading a held device is called active: idle has to be proven.
        state = State.IDLE if interval.active is False else State.ACTIVE
        whole = (workload, state, interval.method, interval.energy_uj, interval.edge_uj, interval.end_ns - interval.start_ns)
        return [Entry(interval.start_ns, interval.end_ns, interval.device, *whole)]
    use = known_of(over, shape)
    policy = policy_for(use)
    if policy is None:
        return [_unowned(interval, State.UNALLOCATED)]
    return _entries(interval, use, policy, settlement, closes)


def _over(holding: Holding, before: Holding | None, after: Holding | None) -> Holding:
    """The owners of an interval with what was measured over it: who held at its start, by the weights at its end."""
    if before is None or after is None or holding is not before:
        return holding
    if after.slices and set(before.weights) == set(after.weights):
        return after
    if not before.slices and set(after.weights) >= set(before.weights):
        return Holding({name: after.weights[name] for name in before.weights}, after.measured, unseen=after.unseen)
    return before


def _entries(
    interval: Interval, use: DeviceUse, policy: SharingPolicy, settlement: Settlement | None, closes: bool
) -> list[Entry]:
    shared = SharedEnergy(interval.energy_uj, interval.end_ns - interval.start_ns, interval.active)
    # Over a bridge nothing was measured, so that nothing is settled either.
    if settlement is None or interval.method is Method.BRIDGED:
        parts = policy.divide(shared, use)
    else:
        parts = settlement.divide(policy, shared, use, closes=closes)
    edges = split_integer(interval.edge_uj, [part.energy_uj for part in parts])
    times = split_integer(shared.duration_ns, [part.time for part in parts])
    return [
        Entry(
            interval.start_ns,
            interval.end_ns,
            interval.device,
            part.workload,
            State.GAP if interval.method is Method.BRIDGED and part.state is State.UNALLOCATED else part.state,
            interval.method,
            part.energy_uj,
            edge,
            held_ns if part.workload else 0,
        )
        for part, edge, held_ns in zip(parts, edges, times, strict=True)
    ]


def _unowned(interval: Interval, state: State) -> Entry:
    return Entry(
        interval.start_ns, interval.end_ns, interval.device, "", state, interval.method, interval.energy_uj, interval.edge_uj
    )
