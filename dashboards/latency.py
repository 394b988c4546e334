"""Percentiles, means and attainment from the classic histograms of time to first token and time between tokens.

Attainment is the share of observations in the buckets up to the largest edge that is not above the limit: it can only tell too
little, never too much. PromQL does not compare a label, so edges become values: a histogram with all its observations in one
bucket has that bucket's edge as its highest quantile.
"""

from dashboards.board import RATE, recorded
from dashboards.joins import AT
from energy_agent.core.signals import metric

TTFT, ITL = "ttft_seconds", "itl_seconds"
LIMITS = {TTFT: "$ttft_slo", ITL: "$itl_slo"}
MODEL = 'model=~"$model"'
"""Narrows to the models chosen, on boards that have the choice."""
BY = f"{AT}, workload, model"


def quantile(family: str, which: str, function: str = "rate", window: str = RATE, *, of: str = MODEL) -> str:
    """A quantile of each workload and model; engines of different buckets are never mixed. `of` narrows the series."""
    found = f"histogram_quantile({which}, sum by ({BY}, le) ({_gain(family, '_bucket', function, window, of)}))"
    return f"({found} >= 0)"  # without observations it is no number


def mean(family: str, *, of: str = MODEL) -> str:
    """The mean of each workload and model."""
    count = f"sum by ({BY}) ({_gain(family, '_count', 'rate', RATE, of)})"
    return f"sum by ({BY}) ({_gain(family, '_sum', 'rate', RATE, of)}) / ({count} > 0)"


def kept(family: str, function: str = "rate", window: str = RATE) -> str:
    """Observations of each workload and model up to the largest edge within the limit."""
    # Buckets are cumulative: of those within the limit the one with the largest edge has most.
    return f"max by ({BY}) ({_gain(family, '_bucket', function, window)} and on (le) {_edges(family)})"


def attainment(family: str, function: str = "rate", window: str = RATE) -> str:
    """Share of observations within the limit, of each workload and model."""
    return f"{kept(family, function, window)} / (sum by ({BY}) ({_gain(family, '_count', function, window)}) > 0)"


def attainment_of_all(family: str) -> str:
    """The same of all together, those without an edge within the limit left out."""
    within = kept(family)
    count = f"sum by ({BY}) ({_gain(family, '_count', 'rate', RATE)})"
    return f"sum({within}) / (sum({count} and on ({BY}) {within}) > 0)"


def edge(family: str) -> str:
    """The edge at which attainment is counted, of each workload and model."""
    bucket = _series(family, "_bucket")
    return f"max by ({BY}) (clamp({bucket}, 1, 1) * on (le) group_left () {_edges(family)})"


def limit(family: str) -> str:
    """The limit, where there is anything to compare with it."""
    return f"0 * count({_series(family, '_count')}) + {LIMITS[family]}"


def _edges(family: str) -> str:
    edges = f'label_replace(group by (le) ({_series(family, "_bucket")}), "edge", "$1", "le", "(.+)")'
    filled = f'{edges} or label_replace({edges}, "le", "+Inf", "le", ".*")'
    return f'label_replace(histogram_quantile(1, {filled}) <= {LIMITS[family]}, "le", "$1", "edge", "(.+)")'


def _gain(family: str, suffix: str, function: str, window: str, of: str = MODEL) -> str:
    return f"{function}({_series(family, suffix, of)}[{window}])"


def _series(family: str, suffix: str, of: str = MODEL) -> str:
    return recorded(metric(family) + suffix, of, scope="workload")
