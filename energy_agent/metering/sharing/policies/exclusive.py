"""One workload has the device: it gets all of its energy. Pure."""

from energy_agent.metering.sharing.policy import SharingPolicy, equally

SPEC = SharingPolicy(
    help="one workload uses the whole GPU",
    rank=10,
    applies=lambda use: len(use.owners) == 1 and not use.slices and not use.unseen,
    divide=lambda shared, use: equally(shared, use.owners),
)
