"""Recording rules for Prometheus: how fast each workload serves each model, from the classic histograms.

An engine has some forty buckets, so a percentile of every engine of a fleet at every step of a graph takes seconds. Recorded
are the percentiles that the board offers, the observations within each limit that it offers, and what means are made of. The
share within a limit is that in the buckets up to the largest edge that is not above it: it can tell too little, never too much.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.model import STEP, WINDOW, Group, Rule
from energy_agent.core.catalogue.node import metric

TTFT: Final = "ttft_seconds"
ITL: Final = "itl_seconds"
PERCENTILES: Final = ("0.5", "0.9", "0.95", "0.99")
LIMITS: Final = {
    TTFT: ("0.1", "0.2", "0.5", "1", "2", "5", "10"),
    ITL: ("0.01", "0.02", "0.03", "0.05", "0.1", "0.2", "0.5"),
}
"""Seconds, as the label `limit` has them."""
BY: Final = "cluster, job, instance, workload, model"


def percentile(family: str) -> str:
    """Name of the rule of a percentile, by label `quantile`; engines of different buckets are never mixed."""
    return f"instance_workload_model:{_known(family)}:quantile_rate{WINDOW}"


def observed(family: str) -> str:
    """Name of the rule of observations a second."""
    return f"instance_workload_model:{_known(family)}_count:rate{WINDOW}"


def mean(family: str) -> str:
    """Name of the rule of their mean."""
    return f"instance_workload_model:{_known(family)}:mean_rate{WINDOW}"


def within(family: str) -> str:
    """Name of the rule of observations a second up to the largest edge within a limit, by label `limit`."""
    return f"instance_workload_model:{_known(family)}_within:rate{WINDOW}"


def share(family: str) -> str:
    """Name of the rule of their share, by label `limit`."""
    return f"instance_workload_model:{_known(family)}_within:ratio_rate{WINDOW}"


def edge(family: str) -> str:
    """Name of the rule of that edge."""
    return f"instance_workload_model:{_known(family)}_edge:max"


def at_most(limit: str) -> str:
    """A regular expression of the labels `le` of edges up to a limit, a decimal above 0: PromQL does not compare labels.

    An edge with a negative exponent, which servers write below 0.0001, is within every limit.

    Raises:
        ValueError: a limit above 10 with more than one digit that is not 0.
    """
    whole, _, part = limit.partition(".")
    below = [_below(whole) + "([.][0-9]+)?"] if int(whole) else []
    less = [f"{part[:n]}[0-{int(digit) - 1}][0-9]*" for n, digit in enumerate(part) if digit != "0"]
    shorter = [part[:n] for n in range(1, len(part))]
    exact = f"{whole}([.]({'|'.join((*less, *shorter, part + '0*'))}))?" if part else f"{whole}([.]0+)?"
    return "|".join((*below, exact, ".+e-[0-9]+"))


def latency_groups() -> tuple[Group, ...]:
    """The groups."""
    return (
        Group("wattlens-latency", STEP, tuple(rule for family in LIMITS for rule in _of(family))),
        # Below the five minutes for which Prometheus shows a sample.
        Group("wattlens-latency-edges", "4m", tuple(rule for family in LIMITS for rule in _edges(family))),
    )


def _of(family: str) -> Iterator[Rule]:
    name = metric(family)
    yield Rule(observed(family), f"sum by ({BY}) (rate({name}_count[{WINDOW}]))")
    count = f"({observed(family)} > 0)"
    yield Rule(mean(family), f"sum by ({BY}) (rate({name}_sum[{WINDOW}])) / {count}")
    for which in PERCENTILES:
        # An engine has one histogram, so nothing is summed: that would copy every bucket of the fleet once more. Of the two
        # that it has for five minutes after its target got another label, the slower one counts.
        found = f"histogram_quantile({which}, rate({name}_bucket[{WINDOW}]))"
        yield Rule(percentile(family), f"max by ({BY}) ({found} >= 0)", {"quantile": which})  # none without observations
    for limit in LIMITS[family]:
        # Buckets are cumulative: of those within the limit the one with the largest edge has most.
        yield Rule(within(family), f"max by ({BY}) (rate({_upto(family, limit)}[{WINDOW}]))", {"limit": limit})
    yield Rule(share(family), f"{within(family)} / ignoring (limit) group_left () {count}")


def _edges(family: str) -> Iterator[Rule]:
    """PromQL cannot make a value of a label but for the highest quantile of a histogram with all in one bucket: its edge."""
    values = f"le:{metric(family)}_edge:max"
    single = f'label_replace(group by (le) ({metric(family)}_bucket), "edge", "$1", "le", "(.+)")'
    closed = f'{single} or label_replace({single}, "le", "+Inf", "le", ".*")'
    yield Rule(values, f'label_replace(histogram_quantile(1, {closed}) >= 0, "le", "$1", "edge", "(.+)")')
    for limit in LIMITS[family]:
        known = f"clamp({_upto(family, limit)}, 1, 1) * on (le) group_left () max by (le) ({values})"
        yield Rule(edge(family), f"max by ({BY}) ({known})", {"limit": limit})


def _upto(family: str, limit: str) -> str:
    return f'{metric(family)}_bucket{{le=~"{at_most(limit)}"}}'


def _below(whole: str) -> str:
    """Integers below one with a single digit or a power of ten."""
    if len(whole) == 1:
        return f"[0-{int(whole) - 1}]"
    if whole != "1" + "0" * (len(whole) - 1):
        raise ValueError(f"no expression for integers below {whole}")
    return f"[0-9]{{1,{len(whole) - 1}}}"


def _known(family: str) -> str:
    if family not in LIMITS:
        raise LookupError(f"no latency {family!r}")
    return metric(family)
