"""How often metrics endpoints are read, so that reading them takes a bounded part of a processor. Pure."""

from collections.abc import Sequence
from typing import Final

SHARE_EACH: Final = 0.02
SHARE_ALL: Final = 0.03
"""Of a processor core: at most for one endpoint, and for all of them."""


def periods_s(costs: Sequence[tuple[float, float]]) -> list[float]:
    """Return the seconds between two readings of each endpoint.

    The shares are max-min fair: an endpoint that costs less than its part keeps its period, whatever the others cost.

    Args:
        costs: of each endpoint the CPU time in s of a reading, and the period that the configuration gives it.
    """
    limit, left = SHARE_EACH, SHARE_ALL
    for place, share in enumerate(sorted(cost_s / period_s for cost_s, period_s in costs)):
        part = left / (len(costs) - place)
        if share > part:
            limit = min(limit, part)
            break
        left -= share
    return [max(period_s, cost_s / limit) for cost_s, period_s in costs]
