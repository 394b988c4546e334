"""Queries of dashboards for time to first token and time between tokens: percentiles, means and shares within limits.

A limit is an edge of the histograms, chosen from the edges that they have, so the share within it is exact.
"""

from dashboards.promql.selectors import recorded
from dashboards.rules import serving as rules
from dashboards.rules.serving import BY, ITL, TTFT
from energy_agent.core.catalogue.node import metric

LIMITS = {TTFT: "ttft_slo", ITL: "itl_slo"}
MODEL = 'model=~"$model"'
"""Narrows to the models chosen, on boards that have the choice."""


def quantile(family: str, which: str = "$percentile", *, of: str = MODEL) -> str:
    """A percentile of five minutes, of each workload and model. `of` narrows the series."""
    return recorded(rules.percentile(family), f'quantile="{which}"', of)


def worst_quantile(family: str) -> str:
    """The highest of the selected range."""
    return f"max_over_time({quantile(family)}[$__range])"


def mean(family: str, *, of: str = MODEL) -> str:
    """The mean of five minutes, of each workload and model."""
    return recorded(rules.mean(family), of)


def attainment(family: str) -> str:
    """Share of the observations within the limit, of each workload and model whose histogram has that edge."""
    within, observed = _counts(family, "rate", "$__rate_interval")
    return f"{within} / ({observed} > 0)"


def attainment_in_range(family: str) -> str:
    """The same of the selected range."""
    within, observed = _counts(family, "increase", "$__range")
    return f"{within} / ({observed} > 0)"


def attainment_of_all(family: str) -> str:
    """Share over all workloads whose histogram has that edge."""
    within, observed = _counts(family, "rate", "$__rate_interval")
    return f"sum({within}) / (sum({observed} and {within}) > 0)"


def limit(family: str) -> str:
    """The limit, while there is a mean to compare with it.

    Without histograms Grafana has no edge to choose and inserts nothing: `( + 0)` keeps the query valid.
    """
    return f"0 * count({mean(family)}) + (${LIMITS[family]} + 0)"


def _counts(family: str, function: str, window: str) -> tuple[str, ...]:
    """Observations within the limit, and all."""
    of = (("bucket", (f'le="${LIMITS[family]}"', MODEL)), ("count", (MODEL,)))
    selectors = (recorded(f"{metric(family)}_{part}", *matchers) for part, matchers in of)
    return tuple(f"sum by ({BY}) ({function}({selector}[{window}]))" for selector in selectors)


def edges(family: str) -> str:
    """The buckets of a histogram, whose label `le` has the edges."""
    return recorded(f"{metric(family)}_bucket", MODEL, 'le!="+Inf"')
