"""Recording rules for Prometheus: joules per token with its band, from the joule and token counters.

A workload that serves several models has one energy: its joules are shared over its models by their tokens, so each of its
models shows the workload's joules per token, and sums over models never count a joule twice. The band comes from the systematic
part of the sensors' error, which adds up linearly over GPUs. A workload on a GPU that was lost has no joules per token, as part
of its energy is not known. Without tokens there is no ratio, neither 0 nor infinity.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from energy_agent.core.signals import metric

WINDOW = "5m"
LOST_WINDOW = "15m"  # a workload's series stay that long after its end: until then it is known to have been on a lost GPU
ENERGY = {"active": "active", "active_idle": "active|idle"}
"""`energy` label -> states that count: a kernel ran, or also what the workload held idle."""
TOKENS = {"generation": "generation", "processed": "prompt|generation"}
"""`tokens` label -> phases that count; cached prompt tokens cost nothing and never do."""

WORKLOAD_POWER = f"instance_workload:wattlens_workload_energy_joules:rate{WINDOW}"
WORKLOAD_POWER_ERROR = f"instance_workload:wattlens_workload_energy_uncertainty_joules:rate{WINDOW}"
TOKEN_RATE = f"instance_workload_model:wattlens_tokens:rate{WINDOW}"
_LEVELS = ("instance_workload_model", "model")
BANDS = ("", "_low", "_high")


def joules_per_token(level: str, band: str = "") -> str:
    """Name of the rule at a level (instance_workload_model or model); `band` is "", "_low" or "_high"."""
    if level not in _LEVELS or band not in BANDS:
        raise LookupError(f"no joules per token at level {level!r}, band {band!r}")
    return f"{level}:wattlens_joules_per_token{band}:ratio_rate{WINDOW}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule; `labels` are added to every series."""

    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other, so that a later one sees what an earlier one recorded."""

    name: str
    interval: str
    rules: tuple[Rule, ...]


def groups() -> tuple[Group, ...]:
    """All rule groups."""
    return (Group("wattlens-joules-per-token", "30s", (*_rates(), *_per_workload(), *_per_model())),)


def _rates() -> Iterator[Rule]:
    counter = metric("workload_energy_joules_total")
    lost = (
        f"sum without (uuid, state, method) (present_over_time({counter}[{LOST_WINDOW}])"
        f" * ignoring (workload, state, method, gpu) group_left () ({metric('gpu_up')} == 0))"
    )
    for energy, states in ENERGY.items():
        per_gpu = f'sum without (state, method) (rate({counter}{{state=~"{states}"}}[{WINDOW}]))'
        gain = f"ignoring (workload, gpu) group_left () {metric('gpu_energy_gain_uncertainty_ratio')}"
        yield Rule(WORKLOAD_POWER, f"sum without (uuid) ({per_gpu}) unless {lost}", {"energy": energy})
        yield Rule(WORKLOAD_POWER_ERROR, f"sum without (uuid) ({per_gpu} * {gain}) unless {lost}", {"energy": energy})
    for tokens, phases in TOKENS.items():
        rate = f'rate({metric("tokens_total")}{{phase=~"{phases}"}}[{WINDOW}])'
        yield Rule(TOKEN_RATE, f"sum without (phase) ({rate})", {"tokens": tokens})


def _per_workload() -> Iterator[Rule]:
    for energy, tokens, band in _variants():
        watts = f'{WORKLOAD_POWER}{{energy="{energy}"}}'
        if band:
            watts = f'({watts} {"-" if band == "_low" else "+"} {WORKLOAD_POWER_ERROR}{{energy="{energy}"}})'
        rate = f'{TOKEN_RATE}{{tokens="{tokens}"}}'
        ratio = f"({watts} / ignoring (energy, tokens) (sum without (model) ({rate}) > 0))"
        expr = f"clamp({rate} > 0, 1, 1) * ignoring (model, tokens) group_left () {ratio}"
        yield Rule(joules_per_token("instance_workload_model", band), expr, _labels(energy, tokens))


def _per_model() -> Iterator[Rule]:
    for energy, tokens, band in _variants():
        rate = f'{TOKEN_RATE}{{tokens="{tokens}"}}'
        ratio = f'{joules_per_token("instance_workload_model", band)}{{energy="{energy}",tokens="{tokens}"}}'
        watts = f"sum without (instance, workload) ({ratio} * ignoring (energy, boundary) {rate})"
        expr = f"{watts} / sum without (instance, workload) ({rate} and ignoring (energy, boundary) {ratio})"
        yield Rule(joules_per_token("model", band), expr, _labels(energy, tokens))


def _variants() -> Iterator[tuple[str, str, str]]:
    return ((energy, tokens, band) for energy in ENERGY for tokens in TOKENS for band in BANDS)


def _labels(energy: str, tokens: str) -> dict[str, str]:
    return {"boundary": "gpu", "energy": energy, "tokens": tokens}


def to_yaml() -> str:
    """The rules file."""
    import yaml

    content = {
        "groups": [
            {
                "name": group.name,
                "interval": group.interval,
                "rules": [
                    {"record": rule.record, "expr": rule.expr, **({"labels": rule.labels} if rule.labels else {})}
                    for rule in group.rules
                ],
            }
            for group in groups()
        ]
    }
    text: str = yaml.safe_dump(content, sort_keys=False, width=10_000)
    return "# Built by `wattlens dashboards build` from dashboards/rules.py; do not edit.\n" + text
