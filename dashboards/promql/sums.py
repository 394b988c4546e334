"""Sums over a fleet and the selected range: of recorded rates, and of the energy counters of GPUs with their error."""

from typing import Final

from dashboards.dashboard import RANGE, recorded
from dashboards.promql.joins import AT
from dashboards.rules.fleet import GPU_ENERGY, HOST, NODE_EDGES, NODE_GAIN, integral
from dashboards.rules.model import bound

GPUS: Final = f'bucket!="{HOST}"'
"""Matcher of all buckets of GPUs."""


def bucket(name: str) -> str:
    """Matcher of one of the ledger's buckets."""
    return f'bucket="{name}"'


def over_fleet(name: str, *matchers: str) -> str:
    """Integral of a recorded rate over the selected time range, for each series."""
    return integral(recorded(name, *matchers, scope="fleet"), RANGE)


def over_sites(name: str, *matchers: str) -> str:
    """The same for series with a site and without a scrape job."""
    return integral(recorded(name, *matchers, scope="site"), RANGE)


def gpu_energy(band: str = "") -> str:
    """Energy of GPUs over the selected range, from their counters, or an end of its band.

    Its error is each GPU's gain, of which the largest that a node had stands for all of its GPUs, and an edge of each at both
    ends. A node of which neither is known is in the energy alone.
    """
    gained = f"increase({recorded(GPU_ENERGY, scope='fleet')}[{RANGE}])"
    gain, edges = (
        f"max by ({AT}) (max_over_time({recorded(name, scope='fleet')}[{RANGE}]))" for name in (NODE_GAIN, NODE_EDGES)
    )
    end = bound(f"sum({gained})", f"(sum(sum by ({AT}) ({gained}) * on ({AT}) {gain}) + 2 * sum({edges}))", band)
    return f"clamp_min({end}, 0)" if band == "_lower" else end
