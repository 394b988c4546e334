"""Recording rules for Prometheus: how fast each workload serves each model, from the classic histograms.

An engine has some forty buckets, so a percentile of every engine of a fleet at every step of a graph takes seconds. The rules
record the percentiles that the dashboard offers, and the mean. The share within a limit needs one bucket of each engine, which
dashboards select themselves.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.model import STEP, WINDOW, RecordingRule, RuleGroup
from energy_agent.core.catalogue.node import metric

TTFT: Final = "time_to_first_token_seconds"
ITL: Final = "inter_token_latency_seconds"
PERCENTILES: Final = ("0.5", "0.9", "0.95", "0.99")
BY: Final = "cluster, job, instance, workload, model"


def percentile(family: str) -> str:
    """Name of the rule of a percentile, by label `quantile`; engines of different buckets are never mixed."""
    return f"instance_workload_model:{metric(family)}:quantile_rate{WINDOW}"


def mean(family: str) -> str:
    """Name of the rule of the mean."""
    return f"instance_workload_model:{metric(family)}:mean_rate{WINDOW}"


def latency_groups() -> tuple[RuleGroup, ...]:
    """The group."""
    return (RuleGroup("wattlens-latency", STEP, tuple(rule for family in (TTFT, ITL) for rule in _of(family))),)


def _of(family: str) -> Iterator[RecordingRule]:
    name = metric(family)
    total, count = (f"sum by ({BY}) (rate({name}_{part}[{WINDOW}]))" for part in ("sum", "count"))
    yield RecordingRule(mean(family), f"{total} / ({count} > 0)")
    for which in PERCENTILES:
        # An engine has one histogram, so nothing is summed: that would copy every bucket of the fleet once more. Of the two
        # that it has for five minutes after its target got another label, the slower one counts.
        quantile_expr = f"histogram_quantile({which}, rate({name}_bucket[{WINDOW}]))"
        # `>= 0` drops the NaN of a histogram without observations.
        yield RecordingRule(percentile(family), f"max by ({BY}) ({quantile_expr} >= 0)", {"quantile": which})
