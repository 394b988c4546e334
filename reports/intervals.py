"""Bounds of the energy of devices, holders and rows, by the ledger's own rule of how errors add up.

The gain error of a board is fixed, so it adds linearly and is never divided by a count; edges cancel within a contiguous
stretch; energy that no sensor saw raises the upper bound alone. A device whose sensor error the ledger does not state leaves
the figure without bounds.
"""

from collections.abc import Iterable
from fractions import Fraction

from energy_agent.core.boundary import is_host
from energy_agent.ledger.summary import host_gains
from energy_agent.ledger.uncertainty import Run, combine
from reports.figures import Interval
from reports.sums import Selection, Sums


def of_devices(sums: Sums, part: Selection) -> Interval | None:
    """Whole devices: the edges of their spans, and every gap on them."""
    devices = part.energy_by_device()
    runs = [sums.spans[d, ""] for d in devices if (d, "") in sums.spans]
    return _combine(sums, part, runs, [sums.device_gap_uj.get(d, 0) for d in devices])


def of_holders(sums: Sums, part: Selection) -> Interval | None:
    """What workloads held, active and idle together: an edge between the two cancels."""
    holders = {(k.device, k.workload) for k, _ in part.items}
    runs = [sums.spans[h] for h in sorted(holders) if h in sums.spans]
    return _combine(sums, part, runs, [sums.held_gap_uj.get(h, 0) for h in sorted(holders)])


def of_rows(sums: Sums, part: Selection) -> Interval | None:
    """Rows of single states, each with its own edges, and what was unseen while their workloads held the devices."""
    holders = {(k.device, k.workload) for k, _ in part.items if k.workload}
    return _combine(sums, part, [s.run for _, s in part.items], [sums.held_gap_uj.get(h, 0) for h in sorted(holders)])


def _combine(sums: Sums, part: Selection, runs: Iterable[Run], gaps_uj: Iterable[int]) -> Interval | None:
    energy = part.energy_by_device()
    if any(device not in sums.devices for device in energy):
        return None
    gain = {device: sums.devices[device].gain_ppm for device in energy}
    hosts = {device: ppm for device, ppm in gain.items() if is_host(device)}
    if hosts:
        if any(device not in sums.devices for device in sums.gpus_uj):
            return None
        gpu_gain = {device: sums.devices[device].gain_ppm for device in sums.gpus_uj}
        whole = {device: uj for device, uj in sums.device_uj.items() if is_host(device)}
        every = {device: sums.devices[device].gain_ppm for device in whole}
        found = host_gains(every, gpu_gain, {**sums.gpus_uj, **whole})
        gain |= {device: found[device] for device in hosts}
    bounds = combine(energy, gain, [[run] for run in runs], gaps_uj)
    return Interval(Fraction(bounds.low_uj), Fraction(bounds.high_uj))
