"""Views of devices and of the host for a snapshot: committed totals, and the last reading of responsive devices."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from energy_agent.accounting.device import DeviceAccount
from energy_agent.accounting.totals import CommittedTotals, DeviceTotals
from energy_agent.core.boundary import boundary, is_gpu
from energy_agent.core.energy import Method, State
from energy_agent.core.snapshot import DeviceView, HostView, MeterView, Snapshot, WorkloadEnergy
from energy_agent.reader.supervisor import DeviceHealth

_HELD = (State.ACTIVE, State.IDLE)
STUCK = "sensor stuck: energy counter and power do not change"
Shown = tuple[dict[str, int], dict[int, int]]
"""Event times and XIDs that are committed."""


def device_view(
    account: DeviceAccount,
    health: DeviceHealth | None,
    recorded: CommittedTotals,
    events: Mapping[str, Shown],
    gain_uncertainty_ratio: float,
) -> DeviceView:
    """The view of a device. Where it does not answer, or its sensor stands still, the reason stands in place of the reading.

    Without a sensor there is no energy; the bound of what was not seen is absent where the power limit is unknown.
    """
    totals = recorded.devices.get(account.info.uuid) or DeviceTotals()
    up = health is not None and health.up and account.sample is not None
    reason = "" if up else (health.reason if health is not None else "not found by the driver")
    if up and account.blind:
        up, reason = False, STUCK
    event_ns, xid = events.get(account.info.uuid, ({}, {}))
    sample = account.sample if up else None
    metered = sample is not None and sample.metered
    bounded = metered or account.sensor.limit_known
    if sample is not None and sample.xid_counts is not None and sample.xid_counts != xid:
        sample = replace(sample, xid_counts=xid)  # a sample has new events, a view all that are committed
    return DeviceView(
        info=account.info,
        up=up,
        reason=reason,
        sample=sample,
        energy_uj=dict(totals.by_method) if metered else {},
        unallocated_uj=totals.unallocated,
        unattributed_uj=dict(totals.unattributed),
        gain_uncertainty_ratio=gain_uncertainty_ratio,
        edge_uj=account.edge_uj,
        event_ns=event_ns,
        gap_bound_uj=recorded.totals.gap_bound(account.info.uuid, metered=metered) if bounded else None,
        counter_scope=account.scope_and_basis,
        sharing=account.policy if up else "",
    )


def with_host(
    snapshot: Snapshot,
    sums: CommittedTotals,
    workloads: Collection[str],
    meters: tuple[MeterView, ...],
    gains: Mapping[str, float],
) -> Snapshot:
    """The snapshot with the host's totals, those of `workloads`, and the meters that answer.

    `gains` has the gain uncertainty of each device of the host that is known.
    """
    devices = sorted(device for device in {*sums.devices, *sums.totals.gap_bound_uj} if not is_gpu(device))
    # A workload's counters are there, at 0, before its first joule, once a meter has recorded one.
    metered = [device for device in devices if device in sums.devices]
    energy_uj = {(workload, device, state): 0 for workload in workloads for device in metered for state in _HELD}
    for share in sums.energy(workloads, devices):
        energy_uj[share.workload, share.device, share.state] += share.energy_uj
    return replace(
        snapshot,
        boundary=boundary(metered),
        meters=meters,
        hosts=tuple(_host_view(device, sums, gains.get(device)) for device in devices),
        host_workloads=tuple(WorkloadEnergy(w, d, s, Method.COUNTER, uj) for (w, d, s), uj in energy_uj.items()),
    )


def _host_view(device: str, sums: CommittedTotals, gain: float | None) -> HostView:
    totals = sums.devices.get(device) or DeviceTotals()
    gap_uj = sums.totals.gap_bound(device, metered=True)
    return HostView(device, dict(totals.by_method), totals.unallocated, dict(totals.unattributed), gap_uj, gain)
