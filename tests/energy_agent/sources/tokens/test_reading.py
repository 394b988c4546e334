"""The difference of two token readings, an engine restart included."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sources.tokens._reading import TokenReading, advance

EMPTY = TokenReading(t_ns=1, model="m")
FULL = TokenReading(1, "m", 1000, 500, 100, 3, 1, 2.5, 10, 9.0, 490, 1000.0)
steps = st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=1, max_size=20)


@given(steps, st.integers(0, 10**9))
def test_differences_add_up_to_the_whole(increments, start):
    readings = [TokenReading(0, "m", start, start, start)]
    for n, (prompt, generation, cached) in enumerate(increments, start=1):
        last = readings[-1]
        readings.append(TokenReading(n, "m", last.prompt + prompt, last.generation + generation, last.cached + cached))
    deltas = [advance(a, b) for a, b in itertools.pairwise(readings)]
    assert not any(d.restarted for d in deltas)
    for key in ("prompt", "generation", "cached"):
        assert sum(getattr(d, key) for d in deltas) == getattr(readings[-1], key) - start
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(deltas))


def test_a_counter_that_fell_is_a_restart_and_all_count_from_zero():
    now = replace(FULL, t_ns=2, prompt=40, generation=600, itl_sum_s=0.5, itl_count=20, ttft_sum_s=0.1, ttft_count=1, cached=0)
    delta = advance(FULL, replace(now, started_s=None))
    assert delta.restarted
    assert (delta.prompt, delta.generation, delta.itl_count, delta.itl_sum_s) == (40, 600, 20, 0.5)


def test_another_start_time_is_a_restart_even_when_no_counter_fell():
    now = replace(FULL, t_ns=2, started_s=2000.0, prompt=1200)
    assert advance(FULL, now).prompt == 1200
    assert advance(FULL, replace(now, started_s=1000.0)).prompt == 200
    assert advance(FULL, replace(now, started_s=None)).prompt == 200


def test_what_either_page_lacks_is_absent_never_zero():
    delta = advance(EMPTY, replace(FULL, t_ns=2))
    assert (delta.prompt, delta.generation, delta.ttft_sum_s) == (None, None, None)
    assert not delta.restarted
    assert advance(FULL, replace(EMPTY, t_ns=2)).cached is None


def test_readings_that_do_not_join():
    with pytest.raises(ValueError, match="do not join"):
        advance(FULL, replace(FULL, model="other"))
    with pytest.raises(ValueError, match="order of time"):
        advance(replace(FULL, t_ns=5), FULL)
