"""A device's account as the snapshot shows it: committed totals, and the last reading while it answers."""

from collections.abc import Mapping
from dataclasses import replace

from energy_agent.accounting.device import DeviceAccount
from energy_agent.accounting.totals import DeviceEnergy
from energy_agent.core.snapshot import DeviceView
from energy_agent.reader.supervisor import DeviceHealth

STUCK = "sensor stuck: counter and power stand still"
Shown = tuple[dict[str, int], dict[int, int]]
"""Event times and XIDs that are committed."""


def device_view(
    account: DeviceAccount,
    health: DeviceHealth | None,
    own: DeviceEnergy,
    shown: Mapping[str, Shown],
    gain_uncertainty_ratio: float,
    gap_bound_uj: int,
) -> DeviceView:
    """The view of a device. Where it does not answer, or its sensor stands still, the reason stands in place of the reading."""
    up = health is not None and health.up and account.sample is not None
    reason = "" if up else (health.reason if health is not None else "not found by the driver")
    if up and account.blind:
        up, reason = False, STUCK
    event_ns, xid = shown.get(account.info.uuid, ({}, {}))
    sample = account.sample if up else None
    if sample is not None and sample.xid_counts is not None and sample.xid_counts != xid:
        sample = replace(sample, xid_counts=xid)  # the reader counts from its start, we across restarts
    return DeviceView(
        info=account.info,
        up=up,
        reason=reason,
        sample=sample,
        energy_uj=dict(own.by_method) if up else {},
        unheld_uj=own.unheld,
        unattributed_uj=dict(own.unattributed),
        gain_uncertainty_ratio=gain_uncertainty_ratio,
        edge_uj=account.edge_uj,
        event_ns=event_ns,
        gap_bound_uj=gap_bound_uj,
        sharing=account.policy if up else "",
    )
