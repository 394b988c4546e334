"""Policy aimd: fast up, slow down, by the user's attainment, and released at the first sign that it cannot see."""

from dataclasses import replace

import pytest

from dvfs import knees
from dvfs.policies.aimd import SPEC
from dvfs.types import Decision, Setting
from energy_agent.core.errors import UsageError
from tests.dvfs.policies.serving_load import Load

CONFIG = SPEC.configure({}, knees.load())


def load(**more: object) -> Load:
    return Load(SPEC, CONFIG, **more)


def test_with_slack_it_goes_down_one_level_per_five_seconds_to_the_knee() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    clocks = [server.second() and server.clock() for _ in range(120)]
    levels = list(dict.fromkeys(clocks))
    assert (levels[0], levels[-1], len(levels)) == (1980, 1005, 12)
    assert levels == sorted(levels, reverse=True)
    assert all(clocks.count(mhz) >= 5 for mhz in levels)


def test_misses_halve_the_distance_to_the_highest_clock_and_a_spent_budget_releases() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.run(120)
    server.ttft_s = 0.9
    assert server.second().action == "set"
    assert server.clock() >= 1395
    assert [server.second().reason for _ in range(3)][-1] == "budget_spent"
    assert server.clock() == 1980
    server.ttft_s = 0.05
    server.run(60)
    assert server.clock() == 1980  # the budget of the last ten minutes is spent


def test_a_limit_between_two_edges_counts_at_the_upper_one() -> None:
    server = load(ttft_s=0.3, itl_s=0.01, ttft_limit_s=0.4)  # in the bucket from 0.25 to 0.5
    server.run(300)
    assert server.clock() == 1980


def test_the_mean_time_between_tokens_stops_it_one_level_before_the_limit() -> None:
    server = load(ttft_s=0.05, itl_s=0.035, follows_clock=True)  # compute-bound: 50 ms at 1386 MHz
    server.run(600)
    assert 1386 <= server.clock() <= 1600
    assert {decision.reason for decision in server.told} >= {"slack", "itl"}


def test_a_growing_queue_releases_at_once_and_the_level_above_is_resumed() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.run(120)
    server.queue = 2
    assert server.second() == Decision("release", "queue")
    server.queue = 0
    assert (server.second().reason, server.clock() > 1005, server.clock() < 1300) == ("resumed", True, True)


def test_without_limits_or_in_shadow_it_only_watches() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.spoil = lambda seen: replace(seen, terms=replace(seen.terms, ttft_s=None, itl_s=None))
    assert server.second() == Decision("hold", "no_slo")
    server.spoil = lambda seen: replace(seen, enforced=False)
    server.run(60)
    assert {decision.reason for decision in server.told[1:]} == {"shadow"}
    assert server.in_force == {}


def test_a_limit_that_is_added_starts_a_new_period() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.spoil = lambda seen: replace(seen, terms=replace(seen.terms, ttft_s=None))
    server.run(60)
    server.spoil = None
    assert server.second() == Decision("release", "learning")
    server.run(60)
    assert server.clock() == 1005


def test_it_chooses_from_the_clocks_that_are_possible() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.spoil = lambda seen: replace(seen, clocks_mhz=(700, 1200, 1980))
    server.run(60)
    assert server.in_force["GPU-0"] == Setting(sm_clock_max_mhz=700)


@pytest.mark.parametrize("options", [{"level": 8}, {"levels": 1}, {"stale_s": "x"}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="dvfs policy aimd"):
        SPEC.configure(options, knees.load())
