"""What a snapshot shows of the host around the GPUs. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from energy_agent.accounting.totals import Booked, DeviceEnergy
from energy_agent.core.boundary import boundary, is_gpu
from energy_agent.core.energy import Method, State
from energy_agent.core.snapshot import HostView, MeterView, Snapshot, WorkloadEnergy

_HELD = (State.ACTIVE, State.IDLE)


def with_host(
    snapshot: Snapshot, booked: Booked, shown: Collection[str], meters: tuple[MeterView, ...], gains: Mapping[str, float]
) -> Snapshot:
    """The snapshot with the host's totals, those of the workloads that are `shown`, and the meters that answer.

    `gains` has the gain uncertainty of each device of the host that is known.
    """
    devices = sorted(device for device in {*booked.devices, *booked.gap_uj} if not is_gpu(device))
    # A workload's counters are there, at 0, before its first joule.
    held = {(workload, device, state): 0 for workload in shown for device in devices for state in _HELD}
    for share in booked.energy(shown, devices):
        held[share.workload, share.device, share.state] += share.energy_uj
    return replace(
        snapshot,
        boundary=boundary(devices),
        meters=meters,
        hosts=tuple(_view(device, booked, gains.get(device)) for device in devices),
        host_workloads=tuple(WorkloadEnergy(w, d, s, Method.COUNTER, uj) for (w, d, s), uj in held.items()),
    )


def _view(device: str, booked: Booked, gain: float | None) -> HostView:
    own = booked.devices.get(device) or DeviceEnergy()
    gap_uj = booked.gap_uj.get(device, 0)
    return HostView(device, dict(own.by_method), own.unheld, dict(own.unattributed), gap_uj, gain)
