"""Several workloads share the SMs in time, or at once by MPS: by the SM time that the driver measured. Pure.

While a kernel ran, all energy is shared by SM time, static power included: the workload that keeps the GPU busy pays for it. SM
time of unknown processes is unattributed. While no kernel ran, each owner gets an equal part: each keeps the GPU allocated.
"""

from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, WorkloadShare, by_weight, equally


def _divide(shared: SharedEnergy, use: DeviceUse) -> list[WorkloadShare]:
    return equally(shared, use.owners) if shared.active is False else by_weight(shared, use.owners, use.unseen)


SPEC = SharingPolicy(
    help="several workloads, by the SM time that the driver measures for each; energy while no kernel runs, equally",
    rank=20,
    applies=lambda use: use.measured and bool(use.owners) and not use.slices,
    divide=_divide,
    settles=True,
)
