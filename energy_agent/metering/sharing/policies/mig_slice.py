"""MIG without measured activity: by compute slices. Pure.

Power at rest is shared by all slices, allocated or not; power above that by the allocated slices.
"""

from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, WorkloadShare
from energy_agent.metering.sharing.slices import divide


def _divide(shared: SharedEnergy, use: DeviceUse) -> list[WorkloadShare]:
    weights = [0 if s.owners == {} else s.slices for s in use.slices]
    return divide(shared, use, weights, [shared.held_state] * len(weights))


SPEC = SharingPolicy(
    help="MIG, by compute slices: idle power over all slices, the rest over the allocated slices",
    rank=50,
    applies=lambda use: bool(use.slices),
    divide=_divide,
)
