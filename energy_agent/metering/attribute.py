"""Attribution: whose joules an interval was, in whole microjoules that sum to the interval exactly. Pure.

Four disjoint buckets: workload active, workload idle, unheld, unattributed by reason. Active and idle are told apart by time: a
kernel ran in the interval or not. Several holders of one device share by measured SM time, else equally.
"""

from collections.abc import Mapping

from energy_agent.core.record import record
from energy_agent.core.types import Entry, Interval, Method, State
from energy_agent.core.units import split_integer


@record(frozen=True, slots=True)
class Holding:
    """Who holds a device: workload -> weight (SM time in any unit; 0 for all: equal shares). Empty: nobody."""

    weights: Mapping[str, int]


def shares(interval: Interval, before: Holding | None, after: Holding | None, reason: State = State.STARTING) -> list[Entry]:
    """Entries of one interval.

    Args:
        interval: the measured energy.
        before: holders at the interval's start, None when not known.
        after: holders at its end, None when not known.
        reason: why neither is known, STARTING or UNKNOWN_HOLDER; then everything goes there.

    An interval belongs to who held the device at its start: who comes in it gets nothing of it and who leaves in it gets all of
    it, which evens out and lets a newcomer's counter begin at 0. Shares are by the weights measured over it, if there are any.
    Energy that bridges a gap in our readings stays with a holder only if the same workload is proven at both ends; the rest is
    unattributed, since anyone may have come and gone in between.
    """
    duration_ns = interval.end_ns - interval.start_ns
    if interval.method is Method.BRIDGED:
        if after is None:
            return [_unowned(interval, reason)]
        if before is None or set(before.weights) != set(after.weights):
            return [_unowned(interval, State.GAP)]
    holding = before if before is not None else after
    if holding is None:
        return [_unowned(interval, reason)]
    if not holding.weights:
        return [_unowned(interval, State.UNHELD)]
    # Without a utilisation reading a held device is called active: idle has to be proven.
    state = State.IDLE if interval.active is False else State.ACTIVE
    if len(holding.weights) == 1:  # nearly always
        (workload,) = holding.weights
        whole = (workload, state, interval.method, interval.energy_uj, interval.edge_uj, duration_ns)
        return [Entry(interval.start_ns, interval.end_ns, interval.device, *whole)]
    measured = after.weights if after is not None and before is not None and set(after.weights) >= set(before.weights) else {}
    workloads = sorted(holding.weights)
    weights = [measured.get(w, holding.weights[w]) for w in workloads]
    energies = split_integer(interval.energy_uj, weights)
    edges = split_integer(interval.edge_uj, weights)
    times = split_integer(duration_ns, weights)
    return [
        Entry(interval.start_ns, interval.end_ns, interval.device, w, state, interval.method, uj, edge, ns)
        for w, uj, edge, ns in zip(workloads, energies, edges, times, strict=True)
    ]


def _unowned(interval: Interval, state: State) -> Entry:
    return Entry(
        interval.start_ns, interval.end_ns, interval.device, "", state, interval.method, interval.energy_uj, interval.edge_uj
    )
