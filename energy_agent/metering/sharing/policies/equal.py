"""Several workloads share the device and their use was not measured: equal parts. Pure."""

from energy_agent.metering.sharing.policy import SharingPolicy, by_weight, equally

SPEC = SharingPolicy(
    help="several workloads without measured SM time, in equal parts",
    rank=30,
    applies=lambda known: bool(known.owners) and not known.slices,
    divide=lambda shared, known: (
        by_weight(shared, known.owners) if any(known.owners.values()) else equally(shared, known.owners)
    ),
)
