"""What quantities are called at the head of a column: the same in every form of the report. Pure."""

from typing import Final

_LABELS: Final = {
    "energy.gpu": "gpus",
    "energy.node": "nodes",
    "energy.facility": "building",
    "energy.held": "gpu_energy",
    "energy.held.active": "kernels_running",
    "energy.held.idle": "held_idle",
    "energy.held.node": "with_the_host",
    "energy.held.facility": "with_the_building",
    "energy.held.inventory": "at_the_widest_boundary",
    "water.held": "water",
    "gpu_hours": "gpu_hours",
    "co2e.location": "co2e_location_based",
    "co2e.market": "co2e_market_based",
    "co2e.lifecycle.location": "life_cycle_co2e_location_based",
    "co2e.lifecycle.market": "life_cycle_co2e_market_based",
}


def label_id(quantity: str) -> str:
    """Id of a quantity's name; CO2e of what workloads held is called as that of the whole."""
    return _LABELS.get(quantity) or _LABELS[quantity.replace("held.", "")]
