"""Growth of counters, trapezoids, starts and gaps, judged by a counter that is plain arithmetic: it shows what was drawn."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.meters.difference import (
    CounterFault,
    ceiling_uj,
    energy_uj,
    gap_of,
    growth_uj,
    mean_mw,
    start_of,
    trapezoid_uj,
)

MS = 1_000_000
MAX_MW = 1_000_000
LONGEST_MS = 60_000
MOST_UJ = MAX_MW * LONGEST_MS  # mW x ms = uJ, exactly

powers_mw = st.integers(0, MAX_MW) | st.just(MAX_MW)
draws = st.lists(st.tuples(st.integers(1, LONGEST_MS) | st.just(LONGEST_MS), powers_mw), min_size=1, max_size=20)
"""Duration in ms and constant power in mW, in a row."""
ranges_uj = st.integers(MOST_UJ + 1, 3 * MOST_UJ) | st.sampled_from([(1 << 32) * 1000, (1 << 64) * 1000])
durations_ns = st.integers(1, 10**13)


def drawn_uj(draws):
    return [ms * mw for ms, mw in draws]


@given(draws, ranges_uj, st.data())
def test_growths_telescope_over_wraps(draws, range_uj, data):
    first_uj = data.draw(st.integers(0, range_uj - 1) | st.integers(range_uj - MOST_UJ, range_uj - 1))
    readings_uj = [uj % range_uj for uj in itertools.accumulate(drawn_uj(draws), initial=first_uj)]
    wraps_uj = (range_uj, (1 << 70) * 1000)
    growths = [
        growth_uj(before, after, ceiling_uj(MAX_MW, ms * MS), wraps_uj)
        for (before, after), (ms, _) in zip(itertools.pairwise(readings_uj), draws, strict=True)
    ]
    assert growths == drawn_uj(draws)


@given(draws, st.integers(2, 3), st.data())
def test_growths_telescope_without_a_ceiling_up_to_half_of_the_range(draws, halves, data):
    range_uj = halves * MOST_UJ
    first_uj = data.draw(st.integers(0, range_uj - 1))
    readings_uj = [uj % range_uj for uj in itertools.accumulate(drawn_uj(draws), initial=first_uj)]
    assert [growth_uj(*pair, None, (range_uj,)) for pair in itertools.pairwise(readings_uj)] == drawn_uj(draws)


@given(st.integers(1, MOST_UJ), st.integers(2, 3), st.data())
def test_a_small_step_back_is_a_fall_without_a_ceiling(back_uj, halves, data):
    range_uj = halves * MOST_UJ + 2
    before_uj = data.draw(st.integers(back_uj, range_uj))
    back_uj = min(back_uj, (range_uj - 1) // 2)
    assert growth_uj(before_uj, before_uj - back_uj, None, (range_uj,)) is CounterFault.FELL


counters_uj = st.integers(0, 4 * MOST_UJ)


@given(counters_uj, counters_uj, st.none() | st.integers(0, 2 * MOST_UJ), st.lists(st.integers(1, 4 * MOST_UJ), max_size=3))
def test_a_growth_is_within_its_ceiling_and_explains_both_readings(before_uj, after_uj, max_uj, wraps_uj):
    match growth_uj(before_uj, after_uj, max_uj, wraps_uj):
        case CounterFault.FELL:
            assert after_uj < before_uj
            wraps_uj = [w for w in wraps_uj if w >= before_uj]
            assert not any(before_uj <= w + after_uj <= before_uj + (w // 2 if max_uj is None else max_uj) for w in wraps_uj)
        case CounterFault.IMPOSSIBLE:
            assert after_uj - before_uj > max_uj
        case growth:
            assert growth >= 0
            assert max_uj is None or growth <= max_uj
            assert before_uj + growth - after_uj in ([0] if after_uj >= before_uj else [w for w in wraps_uj if w >= before_uj])


@given(draws, ranges_uj, st.data())
def test_a_reset_far_from_the_end_of_the_range_is_a_fall(draws, range_uj, data):
    """The counter begins again at 0 between two readings, so it shows only what was drawn since."""
    ms, mw = draws[0]
    most_uj = MAX_MW * ms
    before_uj = data.draw(st.integers(0, range_uj - most_uj - 1))
    shown_uj = data.draw(st.integers(0, ms)) * mw
    growth = growth_uj(before_uj, shown_uj, ceiling_uj(MAX_MW, ms * MS), (range_uj,))
    assert growth == (CounterFault.FELL if shown_uj < before_uj else shown_uj - before_uj)


@given(draws, st.integers(0, LONGEST_MS) | st.just(0), st.integers(1, 10**6), st.data())
def test_a_stale_and_coarse_counter_stays_below_its_ceiling(draws, age_ms, step_uj, data):
    """Each reading is of an earlier time, and wrong by up to a step."""
    times = [0, *itertools.accumulate(ms for ms, _ in draws)]
    sums = [0, *itertools.accumulate(drawn_uj(draws))]

    def true_uj(ms):
        return sums[0] + sum(mw * min(max(0, ms - start), length) for start, (length, mw) in zip(times, draws, strict=False))

    start_ms, end_ms = sorted(data.draw(st.tuples(st.integers(0, times[-1]), st.integers(0, times[-1]))))
    errors_uj = st.integers(-step_uj, step_uj) | st.sampled_from([-step_uj, step_uj])
    before_uj, after_uj = (true_uj(ms - data.draw(st.integers(0, age_ms))) + data.draw(errors_uj) for ms in (start_ms, end_ms))
    assume(before_uj <= after_uj)
    ceiling = ceiling_uj(MAX_MW, (end_ms - start_ms) * MS, age_ms * MS, step_uj)
    assert growth_uj(before_uj, after_uj, ceiling) == after_uj - before_uj


@given(st.integers(1, LONGEST_MS))
def test_the_ceiling_of_an_exact_counter_is_what_the_maximum_power_draws(ms):
    ceiling = ceiling_uj(MAX_MW, ms * MS)
    assert growth_uj(5, 5 + MAX_MW * ms, ceiling) == MAX_MW * ms
    assert growth_uj(5, 6 + MAX_MW * ms, ceiling) is CounterFault.IMPOSSIBLE
    assert growth_uj(MAX_MW * ms + 1, 1, ceiling, (MAX_MW * ms,)) is CounterFault.FELL
    assert growth_uj(MAX_MW * ms, 0, ceiling, (MAX_MW * ms,)) == 0  # the last value of a range is its first


@given(powers_mw, powers_mw, durations_ns)
def test_a_trapezoid_lies_between_its_rectangles(before_mw, after_mw, duration_ns):
    uj, doubt_uj = trapezoid_uj(before_mw, after_mw, duration_ns)
    low, high = sorted((before_mw, after_mw))
    assert Fraction(low * duration_ns, MS) - 1 < uj <= Fraction(high * duration_ns, MS)
    assert (uj, doubt_uj) == trapezoid_uj(after_mw, before_mw, duration_ns)


@given(draws, st.integers(0, 1_000), st.data())
def test_the_doubt_of_a_trapezoid_covers_any_power_between_its_readings(draws, step_mw, data):
    low, high = min(mw for _, mw in draws), max(mw for _, mw in draws)
    readings = [data.draw(st.integers(mw - step_mw // 2, mw + step_mw // 2)) for mw in (low, high)]
    uj, doubt_uj = trapezoid_uj(*readings, sum(ms for ms, _ in draws) * MS, step_mw)
    assert abs(sum(drawn_uj(draws)) - uj) < doubt_uj + 2  # both are rounded down


@given(powers_mw, durations_ns)
def test_the_mean_power_of_an_energy_has_that_energy(power_mw, duration_ns):
    uj = energy_uj(power_mw, duration_ns)
    assert 0 <= Fraction(power_mw * duration_ns, MS) - uj < 1
    mean = mean_mw(uj, duration_ns)
    assert Fraction(mean * duration_ns, MS) <= uj < Fraction((mean + 1) * duration_ns, MS)


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62), durations_ns)
def test_a_start_is_between_1970_and_its_end(before_ns, end_ns, duration_ns):
    assert 0 <= start_of(before_ns, end_ns, duration_ns) <= end_ns


@pytest.mark.parametrize("sign", [1, -1])
@given(st.integers(10**14, 1 << 62), st.integers(51 * MS, 100 * MS) | st.integers(10**10, 10**13), st.integers(0, 10**12))
def test_a_start_is_that_of_the_last_reading_unless_utc_was_stepped(sign, before_ns, duration_ns, more_ns):
    """Against the boot clock UTC is slewed by at most 50 ms or 1 %; what moves it by more is a step."""
    slew_ns = max(50 * MS, duration_ns // 100)
    for slewed_ns in (0, slew_ns - more_ns % slew_ns, slew_ns):
        assert start_of(before_ns, before_ns + duration_ns + sign * slewed_ns, duration_ns) == before_ns
    for stepped_ns in (slew_ns + 1, slew_ns + 1 + more_ns):
        end_ns = before_ns + duration_ns + sign * stepped_ns
        assert start_of(before_ns, end_ns, duration_ns) == end_ns - duration_ns


@given(draws, st.integers(0, 1 << 62), st.integers(0, 100), st.data())
def test_the_bound_of_a_gap_covers_what_was_drawn_in_it_beyond_what_was_seen(draws, start_ns, age_ms, data):
    drawn, duration_ns = sum(drawn_uj(draws)), sum(ms for ms, _ in draws) * MS
    seen_uj = data.draw(st.integers(0, drawn))
    gap = gap_of("gpu", start_ns, start_ns + duration_ns, MAX_MW, "reset", age_ns=age_ms * MS, seen_uj=seen_uj)
    assert drawn - seen_uj <= gap.bound_uj == MAX_MW * (duration_ns // MS + 2 * age_ms) - seen_uj
    by_boot_clock = gap_of("gpu", start_ns, start_ns, MAX_MW, "reset", duration_ns=duration_ns, seen_uj=seen_uj)
    assert (by_boot_clock.start_ns, by_boot_clock.end_ns) == (start_ns, start_ns)
    assert drawn - seen_uj <= by_boot_clock.bound_uj == MAX_MW * (duration_ns // MS) - seen_uj


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62), st.none() | powers_mw, st.integers(0, MOST_UJ))
def test_a_gap_has_no_bound_without_a_maximum_power_or_with_utc_set_back(start_ns, end_ns, max_mw, seen_uj):
    gap = gap_of("gpu", start_ns, end_ns, max_mw, "reset", seen_uj=seen_uj)
    assert (gap.start_ns, gap.end_ns) == (min(start_ns, end_ns), end_ns)
    is_bounded = max_mw is not None and start_ns <= end_ns
    assert gap.reason == ("reset" if is_bounded else UNBOUNDED + "reset")
    assert gap.bound_uj == (max(0, max_mw * (end_ns - start_ns) // MS - seen_uj) if is_bounded else 0)
