"""Carbon intensity that a program states itself, for trackers, model cards and gateways."""

import math

from energy_agent.core.errors import UsageError


def check_carbon(g_per_kwh: float | None, basis: str) -> None:
    """Raise UsageError for a carbon intensity that is not a number or has no basis."""
    if g_per_kwh is not None and not (basis and math.isfinite(g_per_kwh) and g_per_kwh >= 0):
        raise UsageError("carbon_g_per_kwh: expected a number of at least 0, and carbon_basis with its source and year")
