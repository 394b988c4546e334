"""Wrong options of a policy are refused with the policy, the option and what was expected."""

import pytest

from dvfs import knees
from dvfs.policies import limiter, progress, slo, static
from energy_agent.core.errors import UsageError


@pytest.mark.parametrize(
    ("policy", "option", "value", "says"),
    [
        ("limiter", "grid", 4, "unknown option 'grid'"),
        ("limiter", "slowdown", 0, r"slowdown: expected a number from 0\.001 to 0\.5, got 0"),
        ("progress", "knob", "memory", "knob: expected clock or power"),
        ("progress", "knob", 3, "expected a word"),
        ("progress", "grid", 1, "grid: expected an integer from 2 to 64"),
        ("progress", "kob", "clock", "unknown option 'kob'"),
        ("progress", "settle_s", -1, "settle_s: expected a number from 0 to 1000000, got -1"),
        ("slo", "level", 8, "unknown option"),
        ("slo", "levels", 1, "from 2 to 32"),
        ("slo", "levels", 4.5, "an integer"),
        ("slo", "stale_s", 0, "0.1"),
        ("slo", "give_percent", 1, "give_percent"),
        ("static", "clean", 1, "unknown option"),
        ("static", "clean_s", "x", "clean_s"),
        ("static", "clean_s", -1, "clean_s"),
        ("static", "stale_s", True, "stale_s"),
    ],
)
def test_wrong_options_are_named(policy: str, option: str, value: object, says: str) -> None:
    specs = {"limiter": limiter.SPEC, "progress": progress.SPEC, "slo": slo.SPEC, "static": static.SPEC}
    with pytest.raises(UsageError, match=f"dvfs policy {policy}: .*{says}"):
        specs[policy].configure({option: value}, knees.load())
