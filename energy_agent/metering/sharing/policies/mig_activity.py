"""MIG with measured activity of each instance (GPM, Hopper and later). Pure.

Power at rest is shared by all slices, allocated or not; power above that by the instances in proportion to their active SMs. An
instance without active SMs is idle.
"""

from energy_agent.core.energy import State
from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, WorkloadShare
from energy_agent.metering.sharing.slices import divide


def _divide(shared: SharedEnergy, use: DeviceUse) -> list[WorkloadShare]:
    worked = [(s.active_ppm or 0) * s.sms for s in use.slices]
    return divide(shared, use, worked, [State.ACTIVE if work else State.IDLE for work in worked])


SPEC = SharingPolicy(
    help="MIG, by activity: idle power over all slices, the rest by SM activity of each instance",
    rank=40,
    applies=lambda use: bool(use.slices) and all(s.active_ppm is not None for s in use.slices),
    divide=_divide,
    settles=True,
)
