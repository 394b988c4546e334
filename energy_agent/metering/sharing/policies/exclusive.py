"""One workload has the device: it gets all of its energy. Pure."""

from energy_agent.metering.sharing.policy import SharingPolicy, equally

SPEC = SharingPolicy(
    help="one workload uses the whole GPU",
    rank=10,
    applies=lambda known: len(known.owners) == 1 and not known.slices and not known.unseen,
    divide=lambda shared, known: equally(shared, known.owners),
)
