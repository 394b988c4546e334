"""How tables by team, project, model, kind or site are made whole: what no workload held, and the total of the meter. Pure.

The groups of a dimension, and what is unallocated, sum to the meter: the devices' energy, the building's, its CO2e, its water,
its cost.
"""

from fractions import Fraction
from typing import Final

from reports.figures.facts import Facts

CO2E: Final = "co2e."
LIFE_CYCLE: Final = "co2e.lifecycle."
_REST: Final = {
    "energy.held": ("energy.gpu.unheld", "energy.gpu.unattributed"),
    "energy.held.node": ("energy.node.unattributed",),
    "energy.held.facility": ("energy.facility.unattributed",),
    "energy.held.inventory": ("energy.inventory.unattributed",),
    "gpu_hours": ("gpu_hours.unattributed",),
    "cost": ("cost.unattributed",),
    "water.held": ("water.unattributed",),
    **{f"{co2e}held.{how}": (f"{co2e}{how}.unattributed",) for co2e in (CO2E, LIFE_CYCLE) for how in ("location", "market")},
}
"""The figures that are the rest of a quantity of groups."""
_WHOLE: Final = {
    "energy.held": ("energy.gpu",),
    "energy.held.node": ("energy.node",),
    "energy.held.facility": ("energy.facility",),
    "energy.held.inventory": ("energy.inventory",),
    "gpu_hours": ("gpu_hours", "gpu_hours.unattributed"),
    "cost": ("cost",),
    "water.held": ("water",),
    **{f"{co2e}held.{how}": (f"{co2e}{how}",) for co2e in (CO2E, LIFE_CYCLE) for how in ("location", "market")},
}
"""The figures that are its total."""


def unallocated(facts: Facts, quantity: str) -> Fraction | None:
    """What is in no group; None: it is not known, or the quantity is not divided to its last part."""
    return _sum(facts, _REST.get(quantity, ()))


def whole(facts: Facts, quantity: str) -> Fraction | None:
    """The total of the meter; None: it is not known, or the quantity has none."""
    return _sum(facts, _WHOLE.get(quantity, ()))


def whole_id(quantity: str) -> str:
    """Return the ID of the total's figure; "" if there is no such figure."""
    names = _WHOLE.get(quantity, ())
    return names[0] if len(names) == 1 else ""


def co2e_prefix(facts: Facts) -> str:
    """Return the ID prefix of the CO2e figures that have values: Scope 2, else life cycle."""

    def is_present(begins: str) -> bool:
        return any(f.value is not None for f in facts.by_prefix(f"{begins}location"))

    return LIFE_CYCLE if is_present(LIFE_CYCLE) and not is_present(CO2E) else CO2E


def _sum(facts: Facts, identities: tuple[str, ...]) -> Fraction | None:
    values = [f.value if (f := facts.figures.get(identity)) is not None else None for identity in identities]
    if not values or None in values:
        return None
    return sum((value for value in values if value is not None), Fraction(0))
