"""Sums over a fleet and the chosen time: of recorded rates, and of the energy counters of GPUs with their error."""

from typing import Final

from dashboards.board import RANGE, recorded, series
from dashboards.rules_fleet import GPU_ENERGY, GPU_GAIN, HOST, integral

BANDS: Final = (("", "estimate"), ("_low", "at least"), ("_high", "at most"))
"""Suffix of a recorded band -> what it is called."""


GPUS: Final = f'bucket!="{HOST}"'
"""Matcher of all buckets of GPUs."""


def bucket(name: str) -> str:
    """Matcher of one of the ledger's buckets."""
    return f'bucket="{name}"'


def over_fleet(name: str, *matchers: str) -> str:
    """What a recorded rate adds up to over the chosen time, each series for itself."""
    return integral(recorded(name, *matchers, scope="fleet"), RANGE)


def over_sites(name: str, *matchers: str) -> str:
    """The same of what has a site, and no scrape job any more."""
    return integral(recorded(name, *matchers, scope="site"), RANGE)


def gpu_energy() -> str:
    """Energy of GPUs over the chosen time, from their counters."""
    return f"sum(increase({recorded(GPU_ENERGY, scope='fleet')}[{RANGE}]))"


def gpu_energy_error() -> str:
    """The bound of its error: gains, which add up, and an edge of each GPU at both ends of the chosen time."""
    gain = f"last_over_time({recorded(GPU_GAIN, scope='fleet')}[{RANGE}])"
    edges = f"sum({series('gpu_energy_edge_uncertainty_joules', scope='fleet')})"
    return f"(sum(increase({recorded(GPU_ENERGY, scope='fleet')}[{RANGE}]) * {gain}) + 2 * {edges})"
