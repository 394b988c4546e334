"""Policy slo: invariants for any server metrics, and its effect on a simulated fleet."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import isfinite
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs import knees
from dvfs.knees import clock_grid
from dvfs.policies.slo import SPEC, SloState
from dvfs.replay.serving import boards, fleet, models, steered
from dvfs.replay.serving.server import server
from dvfs.replay.serving.trace import Trace
from dvfs.types import Decision, Observation, Setting, SteeringSettings
from energy_agent.core.errors import UsageError
from energy_agent.core.workloads.tokens import Latencies
from tests.dvfs.policies.slo.slo_page import KNEE_MHZ, NS, TOP_MHZ, TTFT_EDGES, Page, calm

CONFIG = SPEC.configure({}, knees.load())


def run(
    observations: list[Observation], state: SloState | None = None, in_force: dict[str, Setting] | None = None
) -> tuple[list[Decision], SloState]:
    """Run a round as the governor does: each decision is applied in the next round, unless it is a shadow decision."""
    state, told, in_force = state or SPEC.start(), [], in_force or {}
    for observation in observations:
        decision, state = SPEC.decide(replace(observation, in_force=in_force), state, CONFIG)
        if decision.action != "hold" and observation.enforced:
            in_force = decision.settings
        told.append(decision)
    return told, state


def settled() -> tuple[Page, SloState]:
    """At work: light load has been seen for a minute, and the clock is low."""
    return deepcopy(_settled())


@cache
def _settled() -> tuple[Page, SloState]:
    page = Page()
    told, state = run(calm(page, 60))
    assert any(d.action == "set" for d in told)
    assert state.level == 0
    return page, state


@cache
def start_calm_server() -> tuple[Observation, SloState, dict[str, Setting]]:
    """Return the last of twenty seconds of light load, the state learnt by then, and the applied settings."""
    observations = calm(Page(), 20)
    told, state = run(observations)
    assert told[-1].action == "set"
    return observations[-1], state, told[-1].settings


count = st.one_of(st.integers(0, 50), st.sampled_from([-5, -1, 10**6, 10**14, 10**16, 10**40]))
number = st.one_of(st.floats(0, 100), st.sampled_from([float("nan"), float("inf"), -1.0, 1e14, 1e300, 5e-324]))
moves = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.5, 1.0, 1.0, 1.0, 3.0, 20.0, -1.0]),
        st.lists(count, min_size=6, max_size=6),
        st.lists(number, min_size=3, max_size=3),
        st.sampled_from([0, 0, 0, 0x4, 0x40, 0x1]),
        st.sampled_from([TOP_MHZ, 345, 0, 1500, None]),
        st.booleans(),
    ),
    max_size=40,
)


def told_by(steps: list[tuple]) -> list[Observation]:
    """Counters that grow, stop, jump and fall back as the steps say, after those of `start_calm_server`."""
    page, found = Page(), []
    page.at_s = start_calm_server()[0].boot_ns / NS
    last = start_calm_server()[0].progress
    page.tokens, page.prompt_tokens, page.requests = last.tokens, last.prompt_tokens, last.requests
    page.ttft, page.ttft_sum_s = [*last.ttft.counts], last.ttft.sum_s
    page.gaps, page.gap_sum_s = last.latency_count, last.latency_sum_s
    for passed_s, counts, numbers, reasons, clock, restarts in steps:
        page.at_s += passed_s
        if restarts:
            page.tokens = page.prompt_tokens = page.requests = page.gaps = 0
            page.ttft, page.ttft_sum_s, page.gap_sum_s = [0] * (len(TTFT_EDGES) + 1), 0.0, 0.0
        page.tokens += counts[0]
        page.prompt_tokens += counts[1]
        page.requests += counts[2]
        page.running, page.queue = counts[3], counts[4]
        page.ttft[counts[5] % len(page.ttft)] += counts[5]
        page.gaps += counts[0]
        page.ttft_sum_s += numbers[0]
        page.gap_sum_s += numbers[1]
        seen = page.observe()
        watts = numbers[2] if isfinite(numbers[2]) else 0.0
        device = replace(seen.devices[0], event_reasons=reasons, sm_clock_mhz=clock, energy_uj=int(watts * 1e6))
        found.append(replace(seen, devices=(device,)))
    return found


@settings(max_examples=60, deadline=None)
@given(moves)
def test_whatever_the_counters_do_the_clock_is_between_knee_and_maximum(steps: list[tuple]) -> None:
    state = start_calm_server()[1]
    for observation in told_by(steps):
        decision, state = SPEC.decide(observation, state, CONFIG)
        assert decision.action in ("hold", "set", "release")
        assert bool(decision.settings) == (decision.action == "set")
        for setting in decision.settings.values():
            assert setting.power_limit_mw is None
            assert KNEE_MHZ <= setting.sm_clock_max_mhz < TOP_MHZ
        assert isfinite(state.price)
        assert all(isfinite(x) for x in (*state.account.bias(0), *state.account.bias(2), state.account.spent_ratio(0.01)))


@settings(max_examples=20, deadline=None)
@given(moves)
def test_the_same_observations_get_the_same_decisions(steps: list[tuple]) -> None:
    observations, (_, *learnt) = told_by(steps), start_calm_server()
    assert run(observations, *learnt)[0] == run(observations, *learnt)[0]


@settings(max_examples=20, deadline=None)
@given(moves)
def test_after_trouble_it_learns_again_whatever_was_before(steps: list[tuple]) -> None:
    observations, (calm_end, *learnt) = told_by(steps), start_calm_server()
    last = [calm_end, *observations][-1]
    hot = replace(last, devices=(replace(last.devices[0], event_reasons=0x40),))
    _, state = run([*observations, hot], *learnt)
    assert state.level is None
    decision, state = SPEC.decide(last, state, CONFIG)
    assert decision.action == "hold"
    assert state.level is None


TROUBLES = {
    "stale": lambda o: replace(o, devices=(replace(o.devices[0], boot_ns=0),)),
    "missing clock": lambda o: replace(o, devices=(replace(o.devices[0], sm_clock_mhz=None),)),
    "missing reasons": lambda o: replace(o, devices=(replace(o.devices[0], event_reasons=None),)),
    "no highest clock": lambda o: replace(o, devices=(replace(o.devices[0], sm_clock_max_mhz=None),)),
    "thermal": lambda o: replace(o, devices=(replace(o.devices[0], event_reasons=0x20),)),
    "power brake": lambda o: replace(o, devices=(replace(o.devices[0], event_reasons=0x80 | 0x4),)),
    "unknown board": lambda o: replace(o, devices=(replace(o.devices[0], sku="Voodoo 2"),)),
    "one of two is hot": lambda o: replace(o, devices=(o.devices[0], replace(o.devices[0], uuid="GPU-1", event_reasons=0x8))),
    "no room": lambda o: replace(o, devices=(replace(o.devices[0], sm_clock_max_mhz=KNEE_MHZ),)),
    "no devices": lambda o: replace(o, devices=()),
    "no progress": lambda o: replace(o, progress=None),
    "stale progress": lambda o: replace(o, progress=replace(o.progress, boot_ns=0)),
    "no slo": lambda o: replace(o, terms=SteeringSettings()),
    "no times to first token": lambda o: replace(o, progress=replace(o.progress, ttft=None)),
    "no times between tokens": lambda o: replace(o, progress=replace(o.progress, itl=None, latency_sum_s=None)),
    "no queue": lambda o: replace(o, progress=replace(o.progress, queue=None)),
    "no tokens": lambda o: replace(o, progress=replace(o.progress, tokens=None)),
    "not a number": lambda o: replace(o, progress=replace(o.progress, latency_sum_s=float("nan"))),
    "no buckets": lambda o: replace(o, progress=replace(o.progress, ttft=Latencies((), (o.progress.ttft.count,), 1.0))),
    "restart": lambda o: replace(o, progress=replace(o.progress, tokens=0, requests=0)),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_and_missing_data_let_go_at_once(trouble: str) -> None:
    page, state = settled()
    observation = calm(page, 1)[0]
    decision, state = SPEC.decide(TROUBLES[trouble](observation), state, CONFIG)
    assert (decision.action, decision.settings, state.level) == ("release", {}, None)


def test_a_server_that_started_anew_is_learnt_anew() -> None:
    _, state = settled()
    fresh = Page(at_s=161.0)
    told, state = run(calm(fresh, 8), state)
    assert told[0].reason == "restarted"
    assert {d.action for d in told[1:]} == {"hold"}
    assert state.traffic.requests < 10


def test_a_night_without_requests_while_one_answer_goes_on() -> None:
    page, state = settled()
    for _ in range(1300):
        page.decode(1.0, 1, 0.02)
        page.running = 1
        _, state = run([page.observe()], state)
    assert state.level is not None


def test_counters_that_no_server_can_have_let_go() -> None:
    page, state = settled()
    page.decode(1.0, 2, 0.02)
    page.gap_sum_s = 0.0  # went back, and the count did not
    told, state = run([page.observe()], state)
    assert [(d.action, d.reason) for d in told] == [("release", "restarted")]
    page, state = settled()
    page.decode(1.0, 2, 0.02)
    page.first(0.1, 10**12)
    assert [d.reason for d in run([page.observe()], state)[0]] == ["restarted"]


def test_after_an_hour_without_a_look_nothing_is_learnt_of_it() -> None:
    page, state = settled()
    page.decode(3600.0, 2, 0.02)
    for _ in range(30_000):
        page.first(0.9, 500)
    page.requests += 30_000
    told, after = run([page.observe()], state)
    assert [(d.action, d.reason) for d in told] == [("release", "gap")]
    assert after.traffic == state.traffic


def test_a_power_limit_that_is_gone_is_forgotten() -> None:
    page, state = settled()
    for limited, clock, seconds in ((True, 1200, 20), (False, TOP_MHZ, 60)):
        for _ in range(seconds):
            page.decode(1.0, 2, 0.02)
            seen = page.observe()
            device = replace(seen.devices[0], sm_clock_mhz=clock, event_reasons=0x4 if limited else 0)
            _, state = SPEC.decide(replace(seen, devices=(device,)), state, CONFIG)
        assert (state.response.capped_mhz[1] < 1300) == limited
    assert state.response.capped_mhz[1] > TOP_MHZ - 15


def test_the_same_page_twice_changes_nothing() -> None:
    page, state = settled()
    decision, after = SPEC.decide(replace(page.observe(), boot_ns=round(page.at_s * NS) + NS), state, CONFIG)
    assert (decision.action, decision.reason, after) == ("hold", "same_reading", state)


def test_a_queue_that_builds_up_gets_the_highest_clock_at_once() -> None:
    page, state = settled()
    page.decode(1.0, 2, 0.02)
    page.queue, page.running = 12, 3
    decision, state = SPEC.decide(page.observe(), state, CONFIG)
    assert (decision.action, decision.reason) == ("release", "queue")


def test_tokens_that_come_near_their_limit_raise_the_clock() -> None:
    page, state = settled()
    low = state.level
    for _ in range(20):
        page.decode(1.0, 60, 0.049)
        page.running = 60
        _, state = SPEC.decide(page.observe(), state, CONFIG)
    assert state.level is None or state.level > low


def test_all_devices_of_a_group_get_one_clock_from_the_highest_knee_on() -> None:
    observations = []
    for one in calm(Page(), 40):
        second = replace(one.devices[0], uuid="GPU-1", sku="NVIDIA A100-SXM4-80GB", sm_clock_max_mhz=1410)
        observations.append(replace(one, devices=(one.devices[0], second)))
    told, _ = run(observations)
    sets = [d.settings for d in told if d.action == "set"]
    assert sets
    for wanted in sets:
        assert set(wanted) == {"GPU-0", "GPU-1"}
        assert len(set(wanted.values())) == 1
        assert 1020 <= next(iter(wanted.values())).sm_clock_max_mhz < 1410


def test_shadow_decides_in_full_and_learns_of_the_clock_that_was_there() -> None:
    observations = [replace(o, enforced=False) for o in calm(Page(), 60)]
    told, state = run(observations)
    assert any(d.action == "set" for d in told)
    low = (TOP_MHZ / KNEE_MHZ - 1.0, TOP_MHZ / KNEE_MHZ - 1.0)
    assert state.response.gap_s((0.0, 0.0), 2.0) == pytest.approx(0.02, rel=0.1)
    assert state.response.gap_s(low, 2.0) > 0.021  # a lower clock is still expected to cost: none was seen


def test_a_higher_wish_in_force_is_what_is_learnt_of() -> None:
    page, state = settled()
    observation = replace(calm(page, 1)[0], in_force={"GPU-0": Setting(sm_clock_max_mhz=TOP_MHZ)})
    _, other = SPEC.decide(observation, state, CONFIG)
    _, ours = SPEC.decide(replace(observation, in_force={"GPU-0": Setting(sm_clock_max_mhz=KNEE_MHZ)}), state, CONFIG)
    slow = (TOP_MHZ / KNEE_MHZ - 1.0, 0.97)
    assert other.response.gap_s(slow, 2.0) > ours.response.gap_s(slow, 2.0)


@pytest.mark.parametrize("levels", [4, 8, 10])
def test_the_grid_ends_at_knee_and_maximum(levels: int) -> None:
    found = clock_grid(KNEE_MHZ, TOP_MHZ, levels)
    assert (found[0], found[-1], len(found)) == (KNEE_MHZ, TOP_MHZ, levels)
    assert sorted(found) == list(found)


def test_a_narrow_grid_has_no_clock_twice() -> None:
    assert clock_grid(1005, 1030, 8) == (1005, 1020, 1030)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level": 8}, "unknown option"),
        ({"levels": 3}, "from 4 to 10"),
        ({"give_percent": True}, "number"),
        ({"stale_s": 0}, "0.1"),
        ({"give_percent": 0}, "0.01"),
        ({"levels": 4.5}, "an integer"),
        ({"stale_s": -1}, "from 0.1 to 3600"),
        ({"ttft_tokens": 2048}, "ttft_tokens"),
    ],
)
def test_wrong_options_are_refused_with_their_name(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        SPEC.configure(options, knees.load())


@pytest.mark.parametrize(("late_one_in", "raises"), [(4, 3), (1000, 0)])
def test_a_window_that_proves_a_miss_raises_the_price_once(late_one_in: int, raises: int) -> None:
    """Sixty first tokens a window, a quarter over 500 ms; else the price moves by a fifth at most."""
    page, state, prices = Page(), SPEC.start(), []
    for second in range(200):
        page.running = 2
        page.decode(1.0, 2, 0.02)
        page.first(0.6 if second % late_one_in == late_one_in - 1 else 0.1, 500)
        page.requests += 1
        page.energy_j += 200.0
        _, state = SPEC.decide(page.observe(), state, CONFIG)
        prices.append(state.price)
    assert sum(after > 1.3 * before for before, after in pairwise(prices)) == raises


def test_the_ends_of_a_range_are_taken() -> None:
    assert SPEC.configure({"stale_s": 3600, "levels": 10}, knees.load()).levels == 10


@pytest.mark.parametrize("prompt", [1500, 6000, 12_000])
def test_the_limit_of_the_first_token_is_kept_as_written_whatever_the_length_of_prompts(prompt: int) -> None:
    """The highest clock keeps the limit for most requests; at the knee a third of them miss it."""
    one = server(boards.find("h100-sxm"), models.find("llama-8b"), boundness=(0.5, 0.0))
    slo = fleet.RequestLimits(2.3 * one.prompt_s(round(1.5 * prompt)) + 0.03, 10.0)
    dealt = fleet.streams(poisson(0.25, 400.0, prompt, 20), 1, one, slo)
    default = fleet.fixed(one, dealt, one.rates(None))
    knee = fleet.fixed(one, dealt, one.rates(KNEE_MHZ))
    outcome = steered.SteeredFleet(one, slo).run(dealt, lambda: steered.policy_steer(SPEC, CONFIG)).outcome
    assert knee.failed > default.failed + 25
    assert outcome.failed <= default.failed + 4


def poisson(rate: float, seconds: float, prompt: int, answer: int, seed: int = 1) -> Trace:
    random, at, rows = Random(seed), 0.0, []
    while (at := at + random.expovariate(rate)) < seconds:
        rows.append((at, round(prompt * random.uniform(0.5, 1.5)), max(2, round(answer * random.uniform(0.3, 1.7)))))
    return Trace("poisson", *zip(*rows, strict=True))


@pytest.mark.parametrize("boundness", [(0.5, 0.0), (0.95, 0.25)])
def test_at_light_load_it_saves_energy_and_loses_no_request(boundness: tuple[float, float]) -> None:
    one, slo = server(boards.find("h100-sxm"), models.find("llama-8b"), boundness=boundness), fleet.RequestLimits(0.5, 0.05)
    dealt = fleet.streams(poisson(0.5, 240.0, 1000, 150), 1, one, slo)
    default = fleet.fixed(one, dealt, one.rates(None))
    outcome = steered.SteeredFleet(one, slo).run(dealt, lambda: steered.policy_steer(SPEC, CONFIG)).outcome
    assert outcome.energy_j < 0.8 * default.energy_j
    assert outcome.failed <= default.failed + 1


@pytest.mark.parametrize("boundness", [(0.5, 0.0), (0.95, 0.25)])
def test_what_shadow_promises_holds_what_enforce_saves(boundness: tuple[float, float]) -> None:
    one, slo = server(boards.find("h100-sxm"), models.find("llama-8b"), boundness=boundness), fleet.RequestLimits(0.5, 0.05)
    dealt = fleet.streams(poisson(1.0, 300.0, 1000, 150), 1, one, slo)
    default = fleet.fixed(one, dealt, one.rates(None))
    saved = (
        1.0
        - steered.SteeredFleet(one, slo).run(dealt, lambda: steered.policy_steer(SPEC, CONFIG)).outcome.energy_j
        / default.energy_j
    )
    state = SPEC.start()

    def shadow(seen: Observation, _busy: float) -> int | None:
        nonlocal state
        _, state = SPEC.decide(replace(seen, enforced=False, in_force={}), state, CONFIG)
        return None

    assert SPEC.predict(state, CONFIG) is None
    steered.SteeredFleet(one, slo).run(dealt, lambda: shadow)
    promised = SPEC.predict(state, CONFIG)
    assert promised is not None
    assert promised.low < saved < promised.high
    assert 0.1 < promised.saving_ratio < 0.6
    assert {setting.sm_clock_max_mhz for setting in promised.settings.values()} <= set(
        clock_grid(KNEE_MHZ, TOP_MHZ, CONFIG.levels)
    )


def test_it_goes_up_within_two_seconds_of_a_burst() -> None:
    one, slo = server(boards.find("h100-sxm"), models.find("llama-8b")), fleet.RequestLimits(0.5, 0.05)
    calm_s = 90.0
    quiet = poisson(0.5, calm_s, 1000, 100)
    burst = Trace(
        "burst",
        (*quiet.arrive_s, *(calm_s + i * 0.01 for i in range(60))),
        (*quiet.prompt, *[4000] * 60),
        (*quiet.output, *[50] * 60),
    )
    state, clocks = SPEC.start(), []

    def steer(seen: Observation, _busy: float) -> int | None:
        nonlocal state
        _, state = SPEC.decide(seen, state, CONFIG)
        lock = None if state.level is None else clock_grid(KNEE_MHZ, TOP_MHZ, CONFIG.levels)[state.level]
        clocks.append((seen.boot_ns / NS - steered.START_NS / NS, lock))
        return lock

    steered.SteeredFleet(one, slo).run(fleet.streams(burst, 1, one, slo), lambda: steer)
    before = [lock for at, lock in clocks if calm_s - 30 < at < calm_s]
    assert before.count(KNEE_MHZ) > len(before) / 2
    assert all(lock is None for at, lock in clocks if calm_s + 2.0 < at < calm_s + 6.0)
