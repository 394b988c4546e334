"""The oracle against brute force with the naive engine, and rules of others by hand."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import serving_rivals
from dvfs.replay.serving import fleet, hindsight, replay
from dvfs.replay.serving.engine import Stream
from dvfs.replay.serving.fleet import RequestLimits
from dvfs.replay.serving.server import Rates
from dvfs.replay.serving.trace import Trace
from dvfs.types import Observation, WorkCounters
from energy_agent.core.workloads.tokens import Latencies
from tests.dvfs.replay.serving.reference import Reference
from tests.dvfs.replay.serving.small import H100, small, stream, streams
from tests.support import examples

SMALL = small()
GRID = [SMALL.rates(clock) for clock in (1005, 1395, 1980)]
FOREVER = float("inf")


def brute(dealt: list[Stream], grid: list[Rates], allowed: int, window_s: float) -> float:
    """Least energy of all plans that keep the rule; of all, if none does with the fewest misses."""
    found = []
    windows = [hindsight.windows(one, window_s) for one in dealt]
    for plans in product(*(product(range(len(grid)), repeat=n) for n in windows)):
        done = []
        for one, plan in zip(dealt, plans, strict=True):
            schedule = [((i + 1) * window_s, grid[place]) for i, place in enumerate(plan)]
            schedule[-1] = (FOREVER, schedule[-1][1])
            done.append(Reference(SMALL, one).run(schedule))
        end = max(one.now_s for one in done)
        joules = sum(one.energy_j + (end - one.now_s) * grid[p[-1]].held_w for one, p in zip(done, plans, strict=True))
        found.append((max(allowed, sum(one.failed for one in done)), joules))
    return min(found)[1]


@settings(deadline=None, max_examples=examples(40))
@given(streams(most=6), st.integers(0, 6))
def test_one_replica_and_few_windows_are_solved_as_by_brute_force(requests: Stream, allowed: int) -> None:
    window_s = max(0.01, requests.arrive_s[-1] / 1.9)  # two windows, or one
    outcome, plans = hindsight.best(SMALL, [requests], GRID, allowed, window_s=window_s)
    assert outcome.energy_j == pytest.approx(brute([requests], GRID, allowed, window_s), rel=1e-9)
    assert len(plans[0]) == hindsight.windows(requests, window_s)


def test_two_replicas_share_what_may_be_missed() -> None:
    dealt = [
        stream([(0.1 * i, 20 + 9 * i, 12) for i in range(4)], ttft_s=0.09),
        stream([(0.0, 5, 30), (0.4, 50, 3)], ttft_s=0.07),
    ]
    for allowed in range(4):
        outcome, _ = hindsight.best(SMALL, dealt, GRID, allowed, window_s=0.25)
        assert outcome.energy_j == pytest.approx(brute(dealt, GRID, allowed, 0.25), rel=1e-9), allowed


def test_the_search_alone_finds_the_best_where_windows_do_not_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request ends in its own window and none is too late, so that the cheapest of each window is the cheapest of all."""
    monkeypatch.setattr(hindsight, "FEW_PLANS", 0)
    requests = stream([(10.0 * i + 0.1, 10 + 5 * i, 5 + 10 * (i % 3)) for i in range(4)], ttft_s=9.0, itl_s=9.0)
    outcome, plans = hindsight.best(SMALL, [requests], GRID, 0, window_s=10.0)
    assert outcome.failed == 0
    assert outcome.energy_j == pytest.approx(brute([requests], GRID, 0, 10.0), rel=1e-9)
    assert outcome == hindsight.follow(SMALL, [requests], GRID, plans, 10.0)


LOAD = Trace("t", tuple(0.21 * i for i in range(120)), tuple(20 + 37 * i % 90 for i in range(120)), (9,) * 120)


@pytest.mark.parametrize("points", [0, 1, 5, 40])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_keeps_the_rule_and_is_never_worse_than_the_best_fixed_clock(points: int, seed: int) -> None:
    slo = RequestLimits((0.08, 0.085, 0.1)[seed], 0.02)  # kept by the highest clock alone, by two, by all
    dealt = fleet.streams(LOAD, 2 + seed, SMALL, slo)
    default = fleet.fixed(SMALL, dealt, GRID[-1])
    allowed = default.failed + points
    every = [fleet.fixed(SMALL, dealt, one) for one in GRID]
    held = min((one for one in every if one.failed <= allowed), key=lambda one: one.energy_j)
    outcome, _ = hindsight.best(SMALL, dealt, GRID, allowed, window_s=4.0)
    assert outcome.failed <= allowed
    assert outcome.energy_j <= held.energy_j * (1 + 1e-12)
    assert outcome.energy_j <= default.energy_j * (1 + 1e-12)
    made = replay.PreparedCase(replay.ReplayCase(SMALL, slo, LOAD, 1005), 2 + seed, tuple(dealt), tuple(GRID), default)
    fixed, knee = replay.replay_fixed_clocks(made)
    kept = [
        (one.energy_j, f"{rates.lock_mhz} MHz") for one, rates in zip(every, GRID, strict=True) if one.failed <= made.allowed
    ]
    assert (fixed.energy_j, fixed.note) == min(kept)
    assert knee.changes == 2 + seed  # each replica is locked once


def test_more_misses_allowed_never_cost_more() -> None:
    dealt = fleet.streams(LOAD, 2, SMALL, RequestLimits(0.12, 0.02))
    joules = [hindsight.best(SMALL, dealt, GRID, allowed, window_s=6.0)[0].energy_j for allowed in (60, 80, 120)]
    assert joules == sorted(joules, reverse=True)


def observe(at_s: float, **what: object) -> Observation:
    at_ns = int(at_s * 1e9)
    return Observation("g", at_ns, (), WorkCounters(at_ns, **what))  # type: ignore[arg-type]


def ttft(count: int) -> Latencies:
    return Latencies((1.0,), (count, 0), 0.1 * count)


def test_ecofreq_as_its_authors_wrote_it() -> None:
    one = small(kv_tokens=10_000)
    grid = [one.rates(clock) for clock in (1005, 1395, 1980)]
    waits = {"running": 3, "queue": 1, "tokens": 100, "prompt_tokens": 200, "ttft": ttft(10)}
    runs = waits | {"queue": 0}
    loose = serving_rivals.ecofreq(one, RequestLimits(9.0, 9.0), grid)()
    # The lowest within the limit; as fast as it goes while somebody waits; as before while nothing is seen, for 5 s at most.
    idle = {"running": 0, "queue": 0}
    rounds = [(0, runs, 1.0, 1005), (1, waits, 1.0, None), (2, idle, 0.0, None), (6, idle, 0.0, None), (8, idle, 0.0, 1005)]
    for at_s, what, busy, expected in rounds:
        assert loose(observe(at_s, **what), busy) == expected, at_s
    step = [one.host_step_s + 3 * one.host_sequence_s + one.decode_s(3, 75) * rates.decode_stretch[3] for rates in grid]
    # The limit of the first token binds as well as that of those after it.
    for ttft_s, itl_s, expected in ((9.0, (step[0] + step[1]) / 2, 1395), (9.0, step[2] / 2, None), (0.001, 9.0, None)):
        assert serving_rivals.ecofreq(one, RequestLimits(ttft_s, itl_s), grid)()(observe(0, **runs), 1.0) == expected


def test_geopm_goes_with_the_share_of_time_in_which_a_kernel_ran() -> None:
    steer = serving_rivals.geopm(H100, 1005)()
    assert [steer(observe(0), share) for share in (0.0, 0.5, 1.0, 1.2)] == [1005, 1500, 1980, 1980]
