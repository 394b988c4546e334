"""Recording rules for Prometheus: the series that a dashboard sums over workloads for joules per generated token by model.

Ratios cannot be averaged, so the dashboard divides a sum of joules by one of tokens. Both are recorded for each workload and
model, because the product of two selections of a whole fleet at every step of a graph takes seconds.
"""

from collections.abc import Iterator

from dashboards.rules.model import BANDS, TOKEN_RATE, WINDOW, RecordingRule, end_of, joules_per_token

TOKEN_POWER = f"instance_workload_model:wattlens_joules_of_tokens:rate{WINDOW}"
"""Joules a second that went into generated tokens."""
KNOWN_TOKENS = f"instance_workload_model:wattlens_tokens_with_joules:rate{WINDOW}"
"""Generated tokens per second of workloads whose joules are known, by boundary."""


def model_rules() -> Iterator[RecordingRule]:
    """The rules, after those of joules per token of workloads."""
    rate = f"ignoring (boundary, energy) group_left () {TOKEN_RATE}"
    whole = 'tokens="generation",energy="active_idle"'
    for band in BANDS:
        ratio, shown = joules_per_token("instance_workload_model", band), whole if band else 'tokens="generation"'
        yield RecordingRule(end_of(TOKEN_POWER, band), f"{ratio}{{{shown}}} * {rate}")
    known = f"clamp({joules_per_token('instance_workload_model')}{{{whole}}}, 1, 1) * {rate}"
    yield RecordingRule(KNOWN_TOKENS, f"sum without (energy) ({known})")
