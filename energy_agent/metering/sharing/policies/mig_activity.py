"""MIG with a measure of each instance's activity (GPM, Hopper and later). Pure.

What the board draws at rest goes to all slices, held or not; what it draws above that to the instances in proportion to the SMs
that worked in them. An instance in which none did is idle.
"""

from energy_agent.core.energy import State
from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, WorkloadShare
from energy_agent.metering.sharing.slices import divide


def _divide(shared: SharedEnergy, known: DeviceUse) -> list[WorkloadShare]:
    worked = [(s.active_ppm or 0) * s.sms for s in known.slices]
    return divide(shared, known, worked, [State.ACTIVE if work else State.IDLE for work in worked])


SPEC = SharingPolicy(
    help="MIG, by activity: resting power over all slices, what is above it by the SMs that worked in each instance",
    rank=40,
    applies=lambda known: bool(known.slices) and all(s.active_ppm is not None for s in known.slices),
    divide=_divide,
    settles=True,
)
