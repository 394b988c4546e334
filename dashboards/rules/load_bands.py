"""Recording rules for Prometheus: energy and generated tokens of serving by model and load band, and their comparison.

Joules per token depend on how many requests run together more than on anything else, so a comparison over time is made within
a load band (label `running` of serving_energy_joules_total). Only workloads that serve one model from one endpoint have these
series.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.model import STEP, STEP_S, WINDOW, RecordingRule, RuleGroup, joules_per_token
from energy_agent.core.catalogue.node import metric

ENERGY: Final = f"model_running:wattlens_serving_energy_joules:rate{WINDOW}"
TOKENS: Final = f"model_running:wattlens_serving_tokens:rate{WINDOW}"
LEAST_TOKENS: Final = 10_000
"""Fewer generated tokens of a load band are no base for a comparison."""
_OVER_NODES: Final = "sum without (instance, workload, phase)"
_JOULES: Final = metric("serving_energy_joules_total")
_COUNT: Final = f'{metric("serving_tokens_total")}{{phase="generation"}}'


def load_band_groups() -> tuple[RuleGroup, ...]:
    """The group."""
    return (RuleGroup("wattlens-load-bands", STEP, tuple(_rules())),)


def rose(factor: float) -> str:
    """Joules per token of a load band that rose within a day: of a model, and with label `servers` of its new servers."""
    return f'label_replace({_rose_on_new_servers(factor)}, "servers", "new", "", "") or {_rose(factor)}'


def _rose(factor: float) -> str:
    """Models and load bands whose joules per token of an hour exceed those of the day that ended a day ago, errors included."""
    now = f"sum_over_time({ENERGY}[1h]) / (sum_over_time({TOKENS}[1h]) >= {LEAST_TOKENS // STEP_S})"
    return _exceeds(now, factor)


def _rose_on_new_servers(factor: float) -> str:
    """The same of workloads that did not serve the model a day ago, such as the pods of a deployment since then."""
    known = f"max by (cluster, workload, model) (present_over_time({_COUNT}[1h] offset 1d))"
    energy, tokens = (
        f"{_OVER_NODES} (increase({counter}[1h]) unless on (cluster, workload, model) {known})" for counter in (_JOULES, _COUNT)
    )
    return _exceeds(f"{energy} / ({tokens} >= {LEAST_TOKENS})", factor)


def _rules() -> Iterator[RecordingRule]:
    for record, counter in ((ENERGY, _JOULES), (TOKENS, _COUNT)):
        yield RecordingRule(record, f"{_OVER_NODES} (rate({counter}[{WINDOW}]))")


def _exceeds(now: str, factor: float) -> str:
    before = f"sum_over_time({ENERGY}[1d] offset 1d) / (sum_over_time({TOKENS}[1d] offset 1d) >= {LEAST_TOKENS // STEP_S})"
    low, high = _relative("_lower", "[1h]"), _relative("_upper", "[1h] offset 1d")
    return f"({now}) * ignoring (running) group_left () {low} > {factor} * ({before}) * ignoring (running) group_left () {high}"


def _relative(band: str, window: str) -> str:
    """An end of the band of a model's joules per token, as a ratio of the figure: the error of the sensors."""
    chosen = '{boundary="gpu",energy="active_idle",tokens="generation"}'
    end, figure = (f"avg_over_time({joules_per_token('model', which)}{chosen}{window})" for which in (band, ""))
    return f"sum without (boundary, energy, tokens) ({end} / {figure})"
