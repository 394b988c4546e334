"""What a server's counters leave open at a window's edges, against the work that engines of known speed really did in it."""

from dataclasses import replace
from itertools import accumulate, pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sdk.measure.window_tokens import CountedTokens, CounterInterval, lag, per_token, window_tokens
from tests.support import refusal

steps = st.lists(st.integers(5, 60), min_size=40, max_size=200)  # ms each


def work_until(ends, batch, t):
    """Tokens of which the work is done by `t`, a step's growing evenly; and what the counter says."""
    work = sum(batch * min(1.0, max(0.0, (t - a) / (b - a))) for a, b in pairwise(ends))
    return work, batch * sum(1 for b in ends[1:] if b <= t)


def edge_holds(lengths, batch, opened, closed, before, after, *, running, histogram, reads):
    """Whether the edge of a window holds; the page is read `before` ms too early, at `reads` and `after` ms too late."""
    ends = [0, *accumulate(lengths)]
    (_, first), (_, last) = work_until(ends, batch, opened - before), work_until(ends, batch, closed + after)
    counted, length_s = last - first, (closed + after - opened + before) / 1e3
    edges = None
    if reads:
        (_, soon), (_, late) = work_until(ends, batch, min(reads)), work_until(ends, batch, max(reads))
        edges = soon - first + last - late, 0
    shortest_s = min(lengths) / 1e3 if histogram else 0.0
    counts = {"generation": counted, "steps": counted // batch}
    ends_run = (batch, batch) if running else (None, None)
    edge, _ = lag(
        CounterInterval(("m",), 1, counts, ends_run, batch, length_s, (before + after) / 1e3, edges, shortest_s), live=True
    )
    work = work_until(ends, batch, closed)[0] - work_until(ends, batch, opened)[0]
    return abs(counted - work) <= edge + 1e-6


@given(steps, st.integers(1, 256), st.data())
def test_an_engine_that_counts_with_its_steps_is_within_the_edge(lengths, batch, data):
    total, flag = sum(lengths), st.booleans()
    opened, closed = data.draw(st.integers(1, total // 4)), data.draw(st.integers(3 * total // 4, total - 1))
    before, after = data.draw(st.integers(0, min(opened, 20))), data.draw(st.integers(0, min(total - closed, 20)))
    reads = data.draw(st.lists(st.integers(opened, closed), max_size=3), "reads within the window")
    running, histogram = data.draw(flag, "batch is reported"), data.draw(flag, "histogram")
    assert edge_holds(lengths, batch, opened, closed, before, after, running=running, histogram=histogram, reads=reads)


def test_short_steps_at_both_ends_of_a_window_of_long_ones_are_within_the_edge():
    lengths = [5] * 12 + [60] * 60 + [5] * 12
    for running, histogram, reads in product((True, False), (True, False), ([], [70], [55, 3600])):
        for opened, closed in ((20, 3690), (40, 3680), (59, 3661), (60, 3660)):
            ways = {"running": running, "histogram": histogram, "reads": reads and [opened + 5, closed - 5]}
            assert edge_holds(lengths, 64, opened, closed, 20, 20, **ways), (opened, closed, ways)


def test_an_edge_is_as_narrow_as_histogram_and_readings_allow():
    """Steps of 20 ms, read 2 ms too early and too late."""
    plain = CounterInterval(("m",), 1, {"generation": 32_000, "steps": 500}, (64, 64), 64.0, 10.0, 0.004)
    widest, _ = lag(plain, live=True)
    read, _ = lag(replace(plain, edge_counts=(640, 0)), live=True)
    measured, _ = lag(replace(plain, shortest_step_s=0.01), live=True)
    both, _ = lag(replace(plain, edge_counts=(640, 0), shortest_step_s=0.01), live=True)
    assert (widest, read) == (32_000 + 128, 640 + 128)
    assert measured == both == pytest.approx(64 * 0.4 + 128)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64), st.integers(1, 200), st.integers(1, 200))
def test_what_is_counted_outside_of_the_window_goes_by_the_batch_there(first, amid, last, before, after):
    """An engine of one step a ms whose batch is another in the window than before and after it: read by the step."""
    window = 1000
    counted = before * first + window * amid + after * last
    length = before + window + after
    counts, late_s = {"generation": counted, "steps": length}, (before + after) / 1e3
    interval = CounterInterval(("m",), 1, counts, (first, last), counted / length, length / 1e3, late_s, shortest_step_s=0.001)
    edge, _ = lag(interval, live=True)
    assert counted - window * amid <= edge + 1e-6


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(10, 90)), min_size=5, max_size=60), st.data())
def test_a_server_that_counts_when_a_request_ends_is_within_the_edge(requests, data):
    """Requests of equal answers, each generated evenly from its start to its end, in any overlap."""
    answer = 50
    opened, closed = data.draw(st.integers(50, 400)), data.draw(st.integers(500, 900))

    def at(t):
        counted = sum(answer for start, length in requests if start + length <= t)
        work = sum(answer * min(1.0, max(0.0, (t - start) / length)) for start, length in requests)
        return counted, work, sum(start < t < start + length for start, length in requests)

    (c0, w0, r0), (c1, w1, r1) = at(opened), at(closed)
    counts = {"generation": c1 - c0, "requests": (c1 - c0) // answer}
    edge = lag(CounterInterval(("m",), 1, counts, (r0, r1), None, (closed - opened) / 1e3, 0.0), live=False)
    if isinstance(edge, str):
        assert not counts["requests"]
        return
    assert abs((c1 - c0) - (w1 - w0)) <= edge[0] + 1e-6


def test_idle_windows_have_no_lag_and_incomplete_sums_are_absent():
    interval = CounterInterval(("m",), 1, {"generation": 100, "computed": 50}, (0, 0), 3.0, 10.0, 0.0)
    assert lag(interval, live=False) == lag(interval, live=True) == (0.0, 0.0)
    # A server that counts tokens at the end of a request, and does not count requests, yields no result under load.
    measured = window_tokens(
        [CounterInterval(("m",), 1, {"generation": 100}, (1, 0), 1.0, 10.0, 0.0)], "http://a", "llama_cpp", "request"
    )
    assert measured.generation is None
    assert "when a request ends" in measured.reason
    a = CounterInterval(("a",), 1, {"generation": 5, "computed": 7}, (0, 0), 1.0, 1.0, 0.0)
    b = CounterInterval(("b",), 1, {"generation": 6}, (0, 0), None, 1.0, 0.0)
    measured = window_tokens([a, b], "http://a", "vllm", "step")
    assert (measured.generation, measured.computed, measured.processed, measured.running) == (11, None, None, None)
    both = window_tokens([a, a], "http://a", "vllm", "step")
    assert (both.processed, both.running, both.models) == (24, 2.0, ("a",))


@given(st.floats(1, 1e6), st.floats(0, 0.5), st.integers(10, 10**9), st.floats(0, 0.5), st.floats(0, 0.1), st.data())
def test_one_error_alone_at_its_end_is_at_the_end_of_the_interval(joules, edge, tokens, token_edge, gain, data):
    result = per_token(joules, joules * edge, gain, tokens, tokens * token_edge)
    assert result.low <= result.joules <= result.high
    by = data.draw(st.floats(-1, 1))
    for true in (joules * (1 + by * edge) / tokens, joules / (tokens * (1 + by * token_edge))):
        for reads in (1 - gain, 1 + gain):
            assert result.low * (1 - 1e-9) <= true / reads <= result.high * (1 + 1e-9)


def test_without_enough_tokens_there_is_a_reason():
    for tokens, edge, words in ((0, 0.0, "no token"), (5, 6.0, "too short")):
        result = per_token(10.0, 1.0, 0.05, tokens, edge)
        assert (result.joules, result.low, result.high) == (None, None, None)
        assert words in result.reason
        assert words in str(result)


@given(st.lists(st.tuples(*(st.none() | st.integers(0, 10**12),) * 3)))
def test_a_program_s_counts_add_up(adds):
    counted = CountedTokens()
    for each in adds:
        counted.add(*each)
    counts = [n for each in adds for n in each if n is not None]
    assert counted.tokens == (sum(counts) if counts else None)
    measured = counted.as_window_tokens()
    generated = [each[2] for each in adds if each[2] is not None]
    if measured is not None:
        assert measured.generation == (sum(generated) if generated else None)
    counted.set(3)
    assert (counted.tokens, counted.as_window_tokens().generation) == (3, None)


def test_a_wrong_count_changes_nothing():
    counted = CountedTokens()
    counted.add(1, 2, 3)
    for wrong, error in ((1.5, TypeError), (True, TypeError), ("3", TypeError), (-1, ValueError)):
        assert refusal(counted.add, 5, wrong, None, error=error)
        assert refusal(counted.set, wrong, error=error)
    assert counted.tokens == 6
