"""Several workloads share the device and their use was not measured: equal parts. Pure."""

from energy_agent.metering.sharing.policy import SharingPolicy, by_weight, equally

SPEC = SharingPolicy(
    help="several workloads without measured SM time, in equal parts",
    rank=30,
    applies=lambda use: bool(use.owners) and not use.slices,
    divide=lambda shared, use: by_weight(shared, use.owners) if any(use.owners.values()) else equally(shared, use.owners),
)
