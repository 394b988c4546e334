"""Several workloads hold the device and nothing tells how much each used it: equal parts. Pure."""

from energy_agent.metering.sharing.policy import SharingPolicy, by_weight, equally

SPEC = SharingPolicy(
    help="several workloads whose SM time is not measured, in equal parts",
    rank=30,
    applies=lambda known: bool(known.holders) and not known.slices,
    divide=lambda stretch, known: (
        by_weight(stretch, known.holders) if any(known.holders.values()) else equally(stretch, known.holders)
    ),
)
