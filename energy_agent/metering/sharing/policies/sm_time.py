"""Several workloads share the SMs in time, or at once by MPS: by the SM time that the driver measured of each. Pure.

While a kernel ran, all that the board drew is shared by SM time, its static power included: who keeps the board at work pays
for it; what goes with the SM time of processes that nobody saw is unattributed. While no kernel ran, every owner gets the same
part: each of them keeps the board from resting and from others.
"""

from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, WorkloadShare, by_weight, equally


def _divide(shared: SharedEnergy, known: DeviceUse) -> list[WorkloadShare]:
    return equally(shared, known.owners) if shared.active is False else by_weight(shared, known.owners, known.unseen)


SPEC = SharingPolicy(
    help="several workloads, by the SM time that the driver measured of each; what was drawn while no kernel ran, equally",
    rank=20,
    applies=lambda known: known.measured and bool(known.owners) and not known.slices,
    divide=_divide,
    settles=True,
)
