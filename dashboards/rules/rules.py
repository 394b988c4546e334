"""Every recording rule for Prometheus, in its groups."""

from collections.abc import Iterable

from dashboards.rules.fleet import fleet_groups
from dashboards.rules.goodput import goodput_groups
from dashboards.rules.joules_per_token import (
    group_rules,
    model_rules,
    over_workloads,
    per_token,
    precision_rules,
    rate_rules,
    wider_boundary_rules,
)
from dashboards.rules.latency import latency_groups
from dashboards.rules.load_bands import load_band_groups
from dashboards.rules.model import STEP, TOKEN_RATE, WORKLOAD_POWER, WORKLOAD_POWER_ERROR, RuleGroup
from dashboards.rules.pue import pue_rules
from dashboards.rules.requests import request_groups
from dashboards.rules.runs import run_groups
from dashboards.rules.steering import steering_groups
from dashboards.rules.steps import step_rules


def groups() -> tuple[RuleGroup, ...]:
    """All rule groups."""
    return (
        RuleGroup(
            "wattlens-joules-per-token",
            STEP,
            (
                *rate_rules(),
                *pue_rules(),
                *wider_boundary_rules(),
                *per_token("instance_workload_model", TOKEN_RATE, WORKLOAD_POWER, WORKLOAD_POWER_ERROR),
                *model_rules(),
                *over_workloads("model", TOKEN_RATE),
                *group_rules(),
                *step_rules(),
            ),
        ),
        RuleGroup("wattlens-joules-by-precision", "2m", tuple(precision_rules())),
        *fleet_groups(),
        *steering_groups(),
        *run_groups(),
        *latency_groups(),
        *goodput_groups(),
        *request_groups(),
        *load_band_groups(),
    )


def content() -> dict[str, object]:
    """The rules, as a rules file of Prometheus and the spec of a PrometheusRule have them."""
    return as_content(groups())


def as_content(of: Iterable[RuleGroup]) -> dict[str, object]:
    """Groups as such a file has them."""
    return {
        "groups": [
            {
                "name": group.name,
                "interval": group.interval,
                "rules": [
                    {"record": rule.record, "expr": rule.expr, **({"labels": rule.labels} if rule.labels else {})}
                    for rule in group.rules
                ],
            }
            for group in of
        ]
    }
