"""What boards draw of time to first token and time between tokens: percentiles, means and shares within limits, as recorded."""

from dashboards.dashboard import RANGE, recorded
from dashboards.rules import latency as rules
from dashboards.rules.latency import ITL, LIMITS, PERCENTILES, TTFT

VARIABLES = {TTFT: "ttft_slo", ITL: "itl_slo"}
"""Family -> the variable that chooses a limit of it."""
_FIRST = {TTFT: "0.5", ITL: "0.05"}
MODEL = 'model=~"$model"'
"""Narrows to the models chosen, on boards that have the choice."""


def percentiles() -> dict[str, str]:
    """Text -> value of the percentiles to choose from, the first one first."""
    return {f"{100 * float(each):g}th": each for each in sorted(PERCENTILES, key=lambda each: each != "0.95")}


def limits(family: str) -> dict[str, str]:
    """Text -> value of the limits to choose from, the first one first."""
    chosen = sorted(LIMITS[family], key=lambda each: each != _FIRST[family])
    return {f"{1000 * float(each):g} ms" if float(each) < 1 else f"{each} s": each for each in chosen}


def quantile(family: str, which: str = "$percentile", *, of: str = MODEL) -> str:
    """A percentile of five minutes, of each workload and model. `of` narrows the series."""
    return recorded(rules.percentile(family), f'quantile="{which}"', of)


def worst_quantile(family: str) -> str:
    """The highest of the chosen time."""
    return f"max_over_time({quantile(family)}[{RANGE}])"


def mean(family: str, *, of: str = MODEL) -> str:
    """The mean of five minutes, of each workload and model."""
    return recorded(rules.mean(family), of)


def attainment(family: str) -> str:
    """Share of the observations of five minutes within the limit, of each workload and model."""
    return recorded(rules.share(family), _limit(family), MODEL)


def attainment_in_range(family: str) -> str:
    """The same of the chosen time."""
    kept, count = (f"sum_over_time({each}[{RANGE}])" for each in (_within(family), _observed(family)))
    return f"{kept} / ignoring (limit) ({count} > 0)"


def attainment_of_all(family: str) -> str:
    """Of five minutes and all together, those without an edge within the limit left out."""
    count = f"{_observed(family)} and ignoring (limit) {_within(family)}"
    return f"sum({_within(family)}) / (sum({count}) > 0)"


def counted_at(family: str) -> str:
    """The edge at which attainment is counted, of each workload and model."""
    return recorded(rules.edge(family), _limit(family), MODEL)


def limit(family: str) -> str:
    """The limit, where there is anything to compare with it."""
    return f"0 * count({_observed(family)}) + ${VARIABLES[family]}"


def _within(family: str) -> str:
    return recorded(rules.within(family), _limit(family), MODEL)


def _observed(family: str) -> str:
    return recorded(rules.observed(family), MODEL)


def _limit(family: str) -> str:
    return f'limit="${VARIABLES[family]}"'
