"""Policy slo: the user's error budget on a steady server, and laws for any counters."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs import knees
from dvfs.policies.slo import SPEC
from dvfs.types import Decision, Observation, Setting
from energy_agent.core.workloads.tokens import Latencies
from tests.dvfs.policies.serving_load import EDGES, TOP, Load
from tests.support import examples

CONFIG = SPEC.configure({}, knees.load())
KNEE = 1005


def load(**more: object) -> Load:
    return Load(SPEC, CONFIG, **more)


def test_with_slack_at_the_knee_too_it_goes_there_once_enough_was_seen() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    clocks = [server.second() and server.clock() for _ in range(160)]
    assert clocks[:60] == [TOP] * 60
    assert clocks[-1] == KNEE


def test_misses_raise_the_clock_and_a_spent_budget_releases_until_it_is_earned_again() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.run(120)
    server.ttft_s = 0.9
    assert [server.second().reason for _ in range(3)][-1] == "budget_spent"
    assert server.clock() == TOP
    server.ttft_s = 0.05
    server.run(60)
    assert server.clock() == TOP
    server.run(600)
    assert server.clock() < TOP


def test_single_slow_requests_count_where_the_server_reports_the_mean_of_each() -> None:
    """The mean of all gaps is within the limit of 50 ms, and that of one request in five is not."""
    blind, server = (load(ttft_s=0.05, itl_s=0.02, means_s=means_s) for means_s in ((), (0.01,) * 4 + (0.06,)))
    assert blind.run(120).clock() < TOP
    assert server.run(60).clock() == TOP
    assert "budget_spent" in {decision.reason for decision in server.decisions}
    server.means_s = (0.02,) * 5
    assert server.run(1500).clock() < TOP


def test_a_limit_between_two_edges_counts_at_the_upper_one() -> None:
    server = load(ttft_s=0.3, itl_s=0.01, ttft_limit_s=0.31)  # five a second, in the bucket from 0.25 to 0.5
    server.run(300)
    assert server.clock() == TOP


def test_a_bottleneck_that_follows_the_clock_stops_it_before_the_limit() -> None:
    server = load(ttft_s=0.05, itl_s=0.035, follows_clock=True)  # compute-bound: 50 ms at 1386 MHz
    server.run(1500)
    assert 1386 <= server.clock() < TOP


@pytest.mark.parametrize(("queue", "ttft_limit_s"), [(6, 0.5), (21, 2.5)])
def test_a_long_queue_releases_at_once_until_it_is_short(queue: int, ttft_limit_s: float) -> None:
    server = load(ttft_s=0.05, itl_s=0.01, ttft_limit_s=ttft_limit_s)
    server.run(150)
    server.queue = queue
    assert server.second() == Decision("release", "queue")
    assert server.second() == Decision("hold", "queue")
    server.queue = 0
    server.run(3)
    assert server.clock() == KNEE


def test_a_queue_that_is_served_in_time_changes_nothing() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.run(150)
    server.queue = 3  # 150 ms
    assert (server.second().action, server.clock()) == ("hold", KNEE)


def test_while_requests_always_wait_the_clock_stays() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.queue = 3
    server.run(300)
    assert server.clock() == TOP
    assert server.decisions[-1].reason == "load"
    server.queue = 0
    server.run(1500)
    assert server.clock() == KNEE


def test_no_lower_clock_is_tried_while_requests_wait() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.run(95)
    server.queue = 3
    server.run(15)  # too short to show what it can serve
    assert server.clock() == TOP
    server.queue = 0
    assert server.run(15).clock() < TOP


def test_a_clock_that_serves_fewer_requests_than_arrive_is_raised_long_before_they_are_late() -> None:
    server = load(ttft_s=0.05, itl_s=0.01, ttft_limit_s=2.5)
    server.run(150)
    for second in range(40):
        server.queue = second // 3  # 5.33 arrive each second, and 5 are served
        if server.second().action == "set":
            break
    assert server.decisions[-1].reason == "load"
    assert 1.1 * KNEE < server.clock() < 1.4 * KNEE  # 5.33 / 5 / 0.9 of it


def test_without_queue_it_tries_clocks_up_to_full_utilisation() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.queue = 3
    server.run(100)  # 5 requests per second are what the highest clock serves
    server.queue, server.rate = 0, 4
    lowest = min(server.second() and server.clock() for _ in range(300))
    assert TOP * 4 / 5 <= lowest < TOP * 4 / 5 / 0.9


def test_misses_right_after_a_rise_are_due_to_the_clock_before_it() -> None:
    server = load(ttft_s=0.05, itl_s=0.01, rate=100, attainment=0.95)
    server.run(300)
    assert server.clock() == KNEE
    server.miss_every = 11
    raised = next(clock for _ in range(30) if (clock := server.second() and server.clock()) > KNEE)
    assert [server.second() and server.clock() for _ in range(4)] == [raised] * 4
    assert server.run(3).clock() > raised  # to which the misses since then are due


def test_prompts_of_another_length_are_other_work_of_which_nothing_is_known() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.run(150)
    assert server.clock() == KNEE
    server.spoil = lambda observation: replace(
        observation, progress=replace(observation.progress, prompt_tokens=10_000 * server.requests - 9_000 * 750)
    )
    server.run(5)
    assert server.clock() == TOP
    server.run(60)
    assert server.clock() == KNEE


def test_a_budget_that_another_limit_spent_is_not_that_of_a_new_one() -> None:
    server = load(ttft_s=0.3, itl_s=0.01, ttft_limit_s=0.1)
    server.run(120)
    assert server.second().reason == "budget_spent"
    server.ttft_limit_s = 1.0
    server.run(120)
    assert server.clock() < TOP


def test_in_shadow_it_decides_without_trials_and_bounds_what_it_would_save() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)
    server.spoil = lambda observation: replace(
        observation, enforced=False, in_force={}, devices=(replace(observation.devices[0], power_mw=500_000),)
    )
    server.run(30)
    assert SPEC.predict(server.state, CONFIG) is None
    server.run(1200)
    assert "trial" not in {decision.reason for decision in server.decisions}
    promised = SPEC.predict(server.state, CONFIG)
    assert promised.settings == {"GPU-0": Setting(sm_clock_max_mhz=KNEE)}
    assert promised.low == 0
    assert (
        0.9 * (1 - (KNEE / TOP) ** 3) < promised.high < 1 - (KNEE / TOP) ** 3
    )  # steady power shows nothing of its static part


def test_all_devices_get_one_clock_from_the_highest_knee_on() -> None:
    server = load(ttft_s=0.05, itl_s=0.01)

    def two(observation: Observation) -> Observation:
        other = replace(observation.devices[0], uuid="GPU-1", sku="NVIDIA A100-SXM4-80GB", sm_clock_max_mhz=1410)
        return replace(observation, devices=(observation.devices[0], other))

    server.spoil = two
    server.run(150)
    assert set(server.in_force) == {"GPU-0", "GPU-1"}
    assert len(set(server.in_force.values())) == 1
    assert 1020 <= server.clock() < 1410


count = st.one_of(st.integers(0, 50), st.sampled_from([-5, -1, 10**6, 10**14, 10**16, 10**40]))
number = st.one_of(st.floats(0, 100), st.sampled_from([float("nan"), float("inf"), -1.0, 1e14, 1e300, 5e-324]))
rounds = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.5, 1.0, 1.0, 1.0, 3.0, 20.0, -1.0]),
        st.lists(count, min_size=6, max_size=6),
        st.lists(number, min_size=2, max_size=2),
        st.sampled_from([0, 0, 0, 0x4, 0x40, 0x1]),
    ),
    max_size=40,
)


@cache
def calm_server() -> Load:
    return load(ttft_s=0.05, itl_s=0.01).run(150)


def watched(steps: list[tuple]) -> tuple[list[Decision], list[int]]:
    """Decisions and clocks of a calm server whose counters then grow, stop, jump and fall as the steps say."""
    server = deepcopy(calm_server())
    for passed_s, counts, numbers, reasons in steps:

        def spoil(
            observation: Observation, counts: list[int] = counts, numbers: list[float] = numbers, reasons: int = reasons
        ) -> Observation:
            ttft = Latencies(
                EDGES, (*observation.progress.ttft.counts[:-1], counts[0]), observation.progress.ttft.sum_s + numbers[0]
            )
            itl = Latencies(
                EDGES, (*observation.progress.itl.counts[:-1], counts[1]), observation.progress.itl.sum_s + numbers[1]
            )
            progress = replace(
                observation.progress,
                ttft=ttft,
                itl=itl,
                tpot=itl if numbers[0] > 1 else None,
                requests=counts[2],
                prompt_tokens=counts[3],
                running=counts[4],
                queue=counts[5],
            )
            return replace(observation, progress=progress, devices=(replace(observation.devices[0], event_reasons=reasons),))

        server.t_s += passed_s
        server.spoil = spoil
        server.second()
    return server.decisions, [server.clock()]


@settings(max_examples=examples(60))
@given(rounds)
def test_whatever_the_counters_do_the_clock_is_between_knee_and_maximum(steps: list[tuple]) -> None:
    for decision in watched(steps)[0]:
        assert bool(decision.settings) == (decision.action == "set")
        for setting in decision.settings.values():
            assert setting.power_limit_mw is None
            assert isfinite(setting.sm_clock_max_mhz)
            assert KNEE <= setting.sm_clock_max_mhz < TOP


@settings(max_examples=20)
@given(rounds)
def test_the_same_observations_get_the_same_decisions(steps: list[tuple]) -> None:
    assert watched(steps) == watched(steps)
