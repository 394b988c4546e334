"""The event engine: laws of bookkeeping, and agreement with a naive engine that takes one step at a time."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.replay.serving.engine import Replica, ReplicaCounters, Stream
from dvfs.replay.serving.server import BOUNDNESS, server
from tests.dvfs.replay.serving.reference import Reference
from tests.dvfs.replay.serving.small import H100, small, stream, streams

SMALL = small()
RATES = {clock: SMALL.rates(clock) for clock in (1005, 1395, 1980)}
FOREVER = float("inf")
clocks = st.sampled_from(sorted(RATES))
schedules = st.lists(st.tuples(st.floats(0.01, 3.0), clocks), min_size=1, max_size=5)


def ran(requests: Stream, clock: int = 1980, until: Sequence[float] = (FOREVER,)) -> tuple[Replica, ReplicaCounters]:
    replica, counters = Replica(SMALL, requests), ReplicaCounters()
    for end_s in until:
        replica.run(end_s, RATES[clock], counters)
    return replica, counters


@given(streams(), clocks)
def test_every_request_ends_once_and_every_token_is_counted_once(requests: Stream, clock: int) -> None:
    replica, counters = ran(requests, clock)
    assert replica.is_done
    assert (replica.ended, replica.running, replica.waiting, replica.held_tokens) == (len(requests), 0, 0, 0)
    assert counters.tokens == sum(requests.output)
    assert counters.prompt_tokens == sum(requests.prompt)
    assert sum(counters.ttft_counts) == len(requests)
    assert sum(counters.itl_counts) == sum(requests.output) - len(requests)


@settings(deadline=None)
@given(streams(), schedules, st.sampled_from([(0, 0.0), (1, 0.5), (2, 0.7), (4, 0.8)]))
def test_it_agrees_with_the_naive_engine(requests: Stream, plan: list[tuple[float, int]], drafts: tuple[int, float]) -> None:
    server = replace(SMALL, draft_tokens=drafts[0], accept_ratio=drafts[1], draft_s=2e-3)
    until, schedule = 0.0, []
    for seconds, clock in plan:
        until += seconds * 1.00000077
        schedule.append((until, RATES[clock]))
    schedule[-1] = (FOREVER, schedule[-1][1])
    naive = Reference(server, requests).run(schedule)
    replica, counters = Replica(server, requests), ReplicaCounters()
    for end_s, rates in schedule:
        replica.run(end_s, rates, counters)
    assert (replica.now_s, replica.energy_j) == pytest.approx((naive.now_s, naive.energy_j), rel=1e-9)
    assert replica.failed == naive.failed
    first = math.fsum((r.first_s or 0.0) - requests.arrive_s[r.number] for r in naive.requests)
    assert counters.ttft_sum_s == pytest.approx(first, rel=1e-9, abs=1e-9)
    between = math.fsum((r.end_s or 0.0) - (r.first_s or 0.0) for r in naive.requests)
    assert counters.itl_sum_s == pytest.approx(between, rel=1e-9, abs=1e-9)


@given(streams(), st.lists(st.floats(1e-4, 2.0), min_size=1, max_size=20))
def test_how_far_it_is_asked_to_go_at_a_time_does_not_matter(requests: Stream, pieces: list[float]) -> None:
    ends = [sum(pieces[: i + 1]) * 1.00000077 for i in range(len(pieces))]
    (whole, _), (parts, _) = ran(requests, 1395, ends[-1:]), ran(requests, 1395, ends)
    for name in ("ended", "failed", "waiting", "running", "held_tokens"):
        assert getattr(parts, name) == getattr(whole, name), name
    assert (parts.now_s, parts.energy_j) == pytest.approx((whole.now_s, whole.energy_j), rel=1e-9)


@given(streams(), st.lists(st.tuples(st.floats(0.0, 0.5), clocks), max_size=30))
def test_time_only_grows_and_costs_at_least_the_power_of_a_held_board(requests: Stream, asks: list[tuple[float, int]]) -> None:
    replica = Replica(SMALL, requests)
    for step, clock in [*asks, (FOREVER, 1005)]:
        before_s, before_j = replica.now_s, replica.energy_j
        replica.run(before_s + step, RATES[clock])
        assert replica.now_s >= before_s
        assert replica.energy_j - before_j >= (replica.now_s - before_s) * RATES[clock].held_w * (1 - 1e-9)


@given(streams(), clocks)
def test_the_room_for_keys_and_values_is_never_exceeded(requests: Stream, clock: int) -> None:
    replica = Replica(SMALL, requests)
    while not replica.is_done:
        replica.run(replica.now_s + 1e-2, RATES[clock])  # less than a step takes
        assert 0 <= replica.held_tokens <= SMALL.kv_tokens
        assert replica.running <= SMALL.max_num_seqs


def test_who_is_preempted_finishes_and_its_time_counts() -> None:
    """Two that fit at first and not at last: the later one is computed again, and pays for it between its tokens."""
    requests = stream([(0.0, 55, 50), (0.0, 10, 50)])
    naive = Reference(SMALL, requests).run([(FOREVER, RATES[1980])])
    assert [r.preempted for r in naive.requests] == [0, 1]
    assert naive.most_held <= SMALL.kv_tokens
    replica, counters = ran(requests)
    assert (replica.ended, counters.tokens, counters.prompt_tokens) == (2, 100, 65)
    assert replica.now_s == pytest.approx(naive.now_s, rel=1e-12)
    alone, _ = ran(stream([(0.0, 10, 50)]))
    assert replica.now_s > 1.3 * alone.now_s


def test_a_request_alone_by_hand() -> None:
    """Prompt of 20 in chunks of 16 and 4, then two decode steps; times of the parts as the module's docstring has them."""
    one, rates = SMALL, RATES[1005]
    host, weights = one.host_step_s, one.weights_s * rates.decode_stretch[0]
    chunks = [16 * (one.prefill_s + one.attention_s * 8), 4 * (one.prefill_s + one.attention_s * 18)]
    first = sum(host + one.host_sequence_s + weights + chunk * rates.prefill_stretch for chunk in chunks)
    steps = [(one.weights_s + one.sequence_s + one.kv_s * kept) * rates.decode_stretch[1] for kept in (21, 22)]
    replica, counters = ran(stream([(0.0, 20, 3)]), 1005)
    assert counters.ttft_sum_s == pytest.approx(first, rel=1e-12)
    assert replica.now_s == pytest.approx(first + sum(host + one.host_sequence_s + step for step in steps), rel=1e-12)
    joules = 4 * (host + one.host_sequence_s) * rates.held_w + sum(steps) * rates.decode_w[1]
    joules += 2 * weights * rates.decode_w[0] + sum(chunks) * rates.prefill_stretch * rates.prefill_w
    assert replica.energy_j == pytest.approx(joules, rel=1e-12)


@given(streams(gap_s=0.0), st.tuples(clocks, clocks))
def test_a_higher_clock_is_never_slower_where_all_come_at_once(requests: Stream, pair: tuple[int, int]) -> None:
    """With arrivals between steps it may be, by chance: who comes just after a step has begun waits for its end."""
    low, high = sorted(pair)
    assert ran(requests, high)[0].now_s <= ran(requests, low)[0].now_s * (1 + 1e-12)


@given(streams())
def test_a_limit_that_nobody_can_keep_is_missed_by_all_and_one_for_ever_by_none(requests: Stream) -> None:
    for limit_s, expected in ((0.0, len(requests)), (1e9, 0)):
        limits = replace(requests, ttft_limit_s=(limit_s,) * len(requests), itl_limit_s=1e9)
        assert ran(limits)[0].failed == expected


def test_a_copy_goes_its_own_way() -> None:
    requests = stream([(0.0, 30, 20), (0.1, 50, 40), (0.2, 9, 9)])
    replica, _ = ran(requests, until=(0.15,))
    other = replica.copy()
    replica.run(FOREVER, RATES[1005])
    other.run(FOREVER, RATES[1980])
    again, _ = ran(requests)
    assert (other.now_s, other.failed) == (pytest.approx(again.now_s, rel=1e-9), again.failed)
    assert replica.now_s > other.now_s


def test_a_step_by_itself_is_as_with_many_of_the_engine_lean() -> None:
    """Without the host's part a decode step takes what weights, keys and values, and arithmetic take."""
    lean = server(H100, SMALL.model, engine="lean", boundness=BOUNDNESS["high"])
    replica = Replica(lean, stream([(0.0, 1, 2)]))
    rates = lean.rates(None)
    replica.run(FOREVER, rates)
    once = lean.weights_s + lean.prefill_s + lean.attention_s / 2 * 1
    assert replica.now_s == pytest.approx(
        lean.weights_s * rates.decode_stretch[0] + (once - lean.weights_s) * rates.prefill_stretch
        + lean.decode_s(1, 2) * rates.decode_stretch[1], rel=1e-12,
    )  # fmt: skip
