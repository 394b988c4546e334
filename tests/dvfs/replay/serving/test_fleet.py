"""The fleet: requests dealt out once, the fewest replicas, and what steering sees and does."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs import knees
from dvfs.policies.aimd import SPEC as AIMD
from dvfs.policies.static import SPEC as STATIC
from dvfs.replay.serving import fleet, models
from dvfs.replay.serving.engine import Replica
from dvfs.replay.serving.fleet import RequestLimits
from dvfs.replay.serving.server import ReplicaSpec, server
from dvfs.replay.serving.steered import SteeredFleet, policy_steer
from dvfs.replay.serving.trace import Trace
from dvfs.types import Decision, Observation, Setting
from energy_agent.core.errors import UsageError
from tests.dvfs.replay.serving.small import H100, small

SMALL = small(kv_tokens=4000)
SLO = RequestLimits(0.5, 0.05)
requests = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=30)


def trace(rows: list[tuple[float, int, int]]) -> Trace:
    rows = sorted(rows)
    return Trace("t", tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))


RATES = SMALL.rates(None)
LOAD = trace([(0.31 * i, 40 + 7 * (i % 9), 5 + i % 13) for i in range(60)])
DEALT = fleet.streams(LOAD, 1, SMALL, SLO)


@given(requests, st.integers(1, 5))
def test_each_request_is_dealt_once_and_fits(rows: list[tuple[float, int, int]], replicas: int) -> None:
    whole = trace(rows)
    dealt = fleet.streams(whole, replicas, SMALL, SLO)
    assert sorted(at for one in dealt for at in one.arrive_s) == sorted(whole.arrive_s)
    for one in dealt:
        assert list(one.arrive_s) == sorted(one.arrive_s)
        assert all(p + o + SMALL.max_num_seqs < SMALL.kv_tokens for p, o in zip(one.prompt, one.output, strict=True))
        assert one.ttft_limit_s == tuple(SLO.ttft_limit_s(p) for p in one.prompt)
    short = [p for p in whole.prompt if p < SMALL.kv_tokens // 2 - SMALL.max_num_seqs]
    assert len(short) <= sum(p in short for one in dealt for p in one.prompt)


def test_the_limit_of_the_first_token_is_one_for_all_prompts_unless_the_user_lets_it_grow() -> None:
    assert {SLO.ttft_limit_s(p) for p in (1, 2048, 4096, 20480)} == {0.5}
    grows = RequestLimits(0.5, 0.05, 2048)
    assert [grows.ttft_limit_s(p) for p in (1, 2048, 4096, 20480)] == [0.5, 0.5, 1.0, 5.0]


def test_the_fewest_replicas_are_enough_and_one_less_is_not() -> None:
    slo = RequestLimits(0.14, 0.05)
    n, outcome = fleet.fewest_replicas(SMALL, LOAD, slo)
    assert n > 1
    assert outcome.attainment >= slo.attainment_ratio
    assert outcome == fleet.fixed(SMALL, fleet.streams(LOAD, n, SMALL, slo), RATES)
    less = fleet.fixed(SMALL, fleet.streams(LOAD, n - 1, SMALL, slo), RATES)
    assert less.attainment < slo.attainment_ratio


@pytest.mark.parametrize(
    ("one", "slo", "says"),
    [
        (
            server(H100, models.find("llama-8b")),
            RequestLimits(0.5, 0.005),
            r"takes 18 ms .* --itl-ms 5 is too low.*--engine lean",
        ),
        (SMALL, RequestLimits(0.001, 0.05), r"60 replicas keep 0\.0 % .* raise --ttft-ms or --itl-ms"),
    ],
)
def test_a_limit_that_cannot_be_had_says_what_to_change(one: ReplicaSpec, slo: RequestLimits, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        fleet.fewest_replicas(one, LOAD, slo)


def test_replicas_that_are_done_wait_for_the_last_at_their_own_power() -> None:
    dealt = fleet.streams(LOAD, 2, SMALL, SLO)
    rates = SMALL.rates(1200)
    replicas = [Replica(SMALL, one) for one in dealt]
    for one in replicas:
        one.run(float("inf"), rates)
    ends = [one.now_s for one in replicas]
    joules = sum(one.energy_j for one in replicas) + (max(ends) - min(ends)) * rates.held_w
    outcome = fleet.fixed(SMALL, dealt, rates)
    assert (outcome.seconds, outcome.requests) == (max(ends), 60)
    assert outcome.energy_j == pytest.approx(joules, rel=1e-12)


def test_a_steer_sees_counters_that_only_grow_once_a_second_and_no_more_than_a_page_shows() -> None:
    seen: list[Observation] = []
    busy: list[float] = []

    def steer(observation: Observation, busy_ratio: float) -> None:
        seen.append(observation)
        busy.append(busy_ratio)

    done = SteeredFleet(SMALL, SLO).run(DEALT, lambda: steer)
    plain = fleet.fixed(SMALL, DEALT, RATES)
    assert done.outcome.energy_j == pytest.approx(plain.energy_j, rel=1e-9)
    assert (done.changes, done.outcome.failed) == (0, plain.failed)
    assert done.outcome.seconds == pytest.approx(plain.seconds, rel=1e-9)
    assert done.mean_mhz == (pytest.approx(1980),)
    told = [o.progress for o in seen if o.progress is not None]
    assert len(told) == len(seen) >= int(plain.seconds) - 1
    for before, after in itertools.pairwise(told):
        assert 0.9e9 < after.boot_ns - before.boot_ns < 1.1e9
        for name in ("tokens", "prompt_tokens", "requests", "latency_count", "latency_sum_s"):
            assert getattr(after, name) >= getattr(before, name)
    assert all(0 <= share <= 1 for share in busy)
    device = seen[-1].devices[0]
    assert (device.sku, device.sm_clock_max_mhz, device.power_limit_mw) == (H100.name, 1980, 700_000)
    assert seen[0].terms.ttft_s == 0.5
    assert seen[0].open_arrivals


def test_a_lock_that_is_asked_for_is_in_force_a_few_steps_later_and_is_counted() -> None:
    done = SteeredFleet(SMALL, SLO).run(DEALT, lambda: lambda _seen, _busy: 1200)
    assert done.changes == 1
    low, top = (fleet.fixed(SMALL, DEALT, SMALL.rates(clock)).energy_j for clock in (1200, None))
    assert low < done.outcome.energy_j < top
    assert 1200 < sum(done.mean_mhz) / len(done.mean_mhz) < 1200 + 0.1 * (1980 - 1200)


def test_boards_of_a_replica_are_told_apart_and_share_its_energy() -> None:
    four = replace(SMALL, gpus=4)
    seen: list[Observation] = []
    SteeredFleet(four, SLO).run(fleet.streams(LOAD, 1, four, SLO), lambda: lambda one, _busy: seen.append(one))  # type: ignore[func-returns-value]
    uuids, energies = ({getattr(d, name) for d in seen[-1].devices} for name in ("uuid", "energy_uj"))
    assert (len(uuids), len(energies)) == (4, 1)


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    config = AIMD.configure({}, knees.load())
    dealt = fleet.streams(LOAD, 2, SMALL, SLO)
    runs = [SteeredFleet(SMALL, SLO, seed).run(dealt, lambda: policy_steer(AIMD, config)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0].outcome.energy_j != runs[2].outcome.energy_j


def test_a_policy_steers_as_in_the_product() -> None:
    """Hold keeps what is set, release takes it away."""
    set_it, hold = Decision("set", "x", {"a": Setting(1200), "b": Setting(1305)}), Decision("hold", "x")
    decisions = iter((hold, set_it, hold, Decision("release", "x")))
    steer = policy_steer(replace(STATIC, decide=lambda _seen, state, _config: (next(decisions), state)), None)
    assert [steer(Observation("g", 0, ()), 0.0) for _ in range(4)] == [None, 1305, 1305, None]


def test_a_fleet_with_more_replicas_than_requests_is_idle_in_part() -> None:
    one = trace([(0.0, 10, 5)])
    dealt = fleet.streams(one, 3, SMALL, SLO)
    outcome = SteeredFleet(SMALL, SLO).run(dealt, lambda: lambda _seen, _busy: None).outcome
    alone = fleet.fixed(SMALL, fleet.streams(one, 1, SMALL, SLO), RATES)
    assert outcome.energy_j == pytest.approx(alone.energy_j + 2 * alone.seconds * RATES.held_w, rel=1e-9)
