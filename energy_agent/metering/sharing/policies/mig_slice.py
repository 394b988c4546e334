"""MIG without a measure of activity: by compute slices. Pure.

What the board draws at rest goes to all slices, held or not; what it draws above that to those which somebody holds.
"""

from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, WorkloadShare
from energy_agent.metering.sharing.slices import divide


def _divide(shared: SharedEnergy, known: DeviceUse) -> list[WorkloadShare]:
    held = [0 if s.owners == {} else s.slices for s in known.slices]
    return divide(shared, known, held, [shared.held_state] * len(held))


SPEC = SharingPolicy(
    help="MIG, by compute slices: resting power over all slices, what is above it over the held ones",
    rank=50,
    applies=lambda known: bool(known.slices),
    divide=_divide,
)
