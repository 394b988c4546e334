"""Every recording rule for Prometheus, in its groups."""

from collections.abc import Iterable
from typing import Any

from dashboards.rules import fleet, runs, serving, steering
from dashboards.rules import joules_per_token as joules
from dashboards.rules.model import STEP, TOKEN_RATE, WORKLOAD_POWER, WORKLOAD_POWER_ERROR, RuleGroup


def groups() -> tuple[RuleGroup, ...]:
    """All rule groups; one reads what those before it record."""
    of_workloads = joules.per_token("instance_workload_model", TOKEN_RATE, WORKLOAD_POWER, WORKLOAD_POWER_ERROR)
    of_models = joules.over_workloads("model", TOKEN_RATE)
    of_tokens = (*joules.wider_boundary_rules(), *of_workloads, *joules.model_rules(), *of_models, *joules.group_rules())
    of_labels = (*fleet.label_rules(), *fleet.site_rules())
    of_groups = (*steering.group_rules(), *steering.leased_node_rules(), *steering.workload_rules())
    latencies = (*serving.latency_rules(serving.TTFT), *serving.latency_rules(serving.ITL))
    quantiles = (rule for which in serving.REQUEST_QUANTILES for rule in serving.request_quantile_rules(which))
    rules_of = {
        ("joules-per-token", STEP): (*joules.rate_rules(), *joules.pue_rules(), *of_tokens, *runs.step_rules()),
        ("joules-by-precision", "2m"): joules.precision_rules(),
        ("fleet", STEP): (*fleet.node_rules(), *fleet.fleet_rules(), *of_labels),
        ("fleet-energy", "2m"): fleet.counter_rules(),
        # Every half of their windows of a minute: adjacent windows would miss the increases between them.
        ("steering-events", "30s"): steering.event_rules(),
        ("steering", STEP): of_groups,
        ("steering-totals", "1m"): steering.claim_rules(),
        ("runs", STEP): runs.run_rules(),
        ("latency", STEP): latencies,
        ("goodput", STEP): (*serving.goodput_rules(), *serving.lost_work_rules()),
        ("requests", STEP): (*serving.request_mean_rules(), *quantiles),
        ("load-bands", STEP): serving.load_band_rules(),
    }
    return tuple(RuleGroup(f"wattlens-{name}", interval, tuple(rules)) for (name, interval), rules in rules_of.items())


def content() -> dict[str, list[dict[str, Any]]]:
    """The rules, as a rules file of Prometheus and the spec of a PrometheusRule have them."""
    return as_content(groups())


def as_content(of: Iterable[RuleGroup]) -> dict[str, list[dict[str, Any]]]:
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
