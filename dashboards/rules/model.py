"""Recording rules as data: a rule, a group of rules, and the names that several groups record or read."""

from dataclasses import dataclass, field
from typing import Final

WINDOW = "5m"
STEP_S: Final = 60
"""How often what boards draw is recorded (docs/decisions/0011-recorded-once-a-minute.md)."""
STEP: Final = f"{STEP_S // 60}m"
LOST_WINDOW = "15m"  # a workload's series stay that long after its end: until then it is known to have been on a lost GPU
ENERGY = {"active": "active", "active_idle": "active|idle"}
"""`energy` label -> states that count: a kernel ran, or also what the workload held idle."""
TOKENS = {"generation": "generation", "processed": "prompt|generation", "training": "training"}
"""`tokens` label -> phases that count; cached prompt tokens cost nothing and never do."""
WORKLOAD_POWER = f"instance_workload:wattlens_workload_energy_joules:rate{WINDOW}"
WORKLOAD_POWER_ERROR = f"instance_workload:wattlens_workload_energy_uncertainty_joules:rate{WINDOW}"
PUE = "site_category:wattlens_pue:ratio15m"
PUE_ERROR = "site_category:wattlens_pue_error:ratio15m"
TOKEN_RATE = f"instance_workload_model:wattlens_tokens:rate{WINDOW}"
PRECISE_TOKEN_RATE = f"instance_workload_model_precision:wattlens_tokens:rate{WINDOW}"
BOUNDARIES = ("gpu", "node", "facility")
BANDS: Final = {"": "estimate", "_lower": "at least", "_upper": "at most"}
"""Suffix of the names of a figure with a band -> what a dashboard calls it."""
SIGNS: Final = {"_lower": "-", "_upper": "+"}
"""What makes an end of a band of a figure and its error."""


def end_of(name: str, band: str) -> str:
    """Name of the rule of an end of a figure's band, which has its suffix before the operation."""
    what, _, operation = name.rpartition(":")
    return f"{what}{band}:{operation}"


def joules_per_token(level: str, band: str = "") -> str:
    """Name of the rule at a level, which names the labels it keeps."""
    return end_of(f"{level}:wattlens_joules_per_token:ratio_rate{WINDOW}", band)


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A recording rule; `labels` are added to every series."""

    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated one after the other, so that a later one sees what an earlier one recorded."""

    name: str
    interval: str
    rules: tuple[RecordingRule, ...]


def bound(value: str, error: str, band: str) -> str:
    """A figure, or an end of its band."""
    return f"({value} {SIGNS[band]} {error})" if band else value
