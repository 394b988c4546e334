"""Queries of dashboards for time to first token and time between tokens: percentiles, means and shares within limits.

A limit is an edge of the histograms, chosen from the edges that they have, so the share within it is exact.
"""

from dashboards.dashboard import RANGE, RATE, Variable, recorded
from dashboards.rules import latency as rules
from dashboards.rules.latency import BY, ITL, PERCENTILES, TTFT
from energy_agent.core.catalogue.node import metric

_LIMITS = {TTFT: "ttft_slo", ITL: "itl_slo"}
MODEL = 'model=~"$model"'
"""Narrows to the models chosen, on boards that have the choice."""


def choices() -> tuple[Variable, ...]:
    """The percentile, and the limits. Where no histogram has the default, Grafana chooses the smallest edge."""
    percentiles = {f"{100 * float(each):g}th": each for each in sorted(PERCENTILES, key=lambda each: each != "0.95")}
    return (
        Variable("percentile", "Percentile", values=percentiles),
        Variable(_LIMITS[TTFT], "TTFT limit (s)", _edges(TTFT), {"0.5": "0.5"}, of="le"),
        Variable(_LIMITS[ITL], "ITL limit (s)", _edges(ITL), {"0.05": "0.05"}, of="le"),
    )


def quantile(family: str, which: str = "$percentile", *, of: str = MODEL) -> str:
    """A percentile of five minutes, of each workload and model. `of` narrows the series."""
    return recorded(rules.percentile(family), f'quantile="{which}"', of)


def worst_quantile(family: str) -> str:
    """The highest of the selected range."""
    return f"max_over_time({quantile(family)}[{RANGE}])"


def mean(family: str, *, of: str = MODEL) -> str:
    """The mean of five minutes, of each workload and model."""
    return recorded(rules.mean(family), of)


def attainment(family: str) -> str:
    """Share of the observations within the limit, of each workload and model whose histogram has that edge."""
    within, observed = _counts(family, f"rate({{}}[{RATE}])")
    return f"{within} / ({observed} > 0)"


def attainment_in_range(family: str) -> str:
    """The same of the selected range."""
    within, observed = _counts(family, f"increase({{}}[{RANGE}])")
    return f"{within} / ({observed} > 0)"


def attainment_of_all(family: str) -> str:
    """Share over all workloads whose histogram has that edge."""
    within, observed = _counts(family, f"rate({{}}[{RATE}])")
    return f"sum({within}) / (sum({observed} and {within}) > 0)"


def limit(family: str) -> str:
    """The limit, while there is a mean to compare with it.

    Without histograms Grafana has no edge to choose and inserts nothing: `( + 0)` keeps the query valid.
    """
    return f"0 * count({mean(family)}) + (${_LIMITS[family]} + 0)"


def _counts(family: str, gained: str) -> tuple[str, str]:
    """Observations within the limit, and all."""
    name, edge = metric(family), f'le="${_LIMITS[family]}"'
    within, observed = recorded(f"{name}_bucket", edge, MODEL), recorded(f"{name}_count", MODEL)
    return f"sum by ({BY}) ({gained.format(within)})", f"sum by ({BY}) ({gained.format(observed)})"


def _edges(family: str) -> str:
    return recorded(f"{metric(family)}_bucket", MODEL, 'le!="+Inf"')
