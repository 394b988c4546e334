"""Readings of a node's meter become intervals or gaps; a counter's sum is exact over wraps; impossible values are rejected."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import Method
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.metering.node import advance

S = 10**9
GAP = 25 * S


def counter(t_s, uj, **more):
    return MeterReading("package-0", Scope.PACKAGE, t_s * S, t_s * S, energy_uj=uj, **more)


def power(t_s, mw, **more):
    return MeterReading("node", Scope.NODE, t_s * S, t_s * S, power_mw=mw, **more)


def two(first, second, boots=("boot", "boot")):
    return advance(advance(None, first, boots[0], GAP).state, second, boots[1], GAP)


@given(st.lists(st.integers(0, 400 * 10 * 10**6), min_size=1, max_size=40))
def test_a_counter_telescopes_over_its_wraps(steps_uj):
    wrap, state, total, at = 2**32, None, 0, 2**32 - 10**6
    for n in range(len(steps_uj) + 1):
        step = advance(state, counter(10 * n, (at + total) % wrap, wrap_uj=wrap, max_mw=410_000), "boot", GAP)
        state = step.state
        assert step.gap is None
        if n < len(steps_uj):
            total += steps_uj[n]
    assert state.total_uj == total


def test_power_is_integrated_with_its_doubt():
    step = two(power(0, 400_000), power(10, 600_000))
    assert step.interval.energy_uj == 5_000_000_000
    assert step.interval.method is Method.INTEGRATED
    assert step.interval.doubt_uj >= 1_000_000_000


def test_what_a_counter_cannot_have_done_is_a_gap():
    assert two(counter(0, 10**9), counter(10, 10**9 - 5)).gap.reason == UNBOUNDED + "counter fell"
    gap = two(counter(0, 0, max_mw=500_000), counter(10, 6 * 10**9, max_mw=500_000)).gap
    assert (gap.reason, gap.bound_uj) == ("impossible counter difference", 5 * 10**9)
    # Nearly a whole range is a small step back, not a wrap.
    assert two(counter(0, 10**9, wrap_uj=2**36), counter(10, 10**9 - 5, wrap_uj=2**36)).gap is not None
    many = two(counter(0, 5, wrap_uj=2**30, max_mw=500_000), counter(10, 9, wrap_uj=2**30, max_mw=500_000))
    assert "more than once" in many.gap.reason


def test_an_old_reading_of_a_counter_widens_both_edges():
    """A reading at 100 W that is one second old lacks 100 J; the counter's step of 1 J comes to it."""
    interval = two(counter(0, 0, step_uj=10**6), counter(10, 10**9, step_uj=10**6, age_ns=S)).interval
    assert interval.edge_uj == 101 * 10**6


def test_a_hole_is_bridged_by_a_counter_alone():
    assert two(counter(0, 0), counter(600, 10**9)).interval.method is Method.BRIDGED
    assert two(power(0, 1000), power(600, 1000)).gap.reason == UNBOUNDED + "no readings"
    assert two(power(0, 1000, max_mw=2000), power(600, 1000, max_mw=2000)).gap.bound_uj == 2 * 600 * 10**6


def test_a_counter_that_stands_still_books_when_it_moves():
    first = advance(None, counter(0, 7), "boot", GAP)
    still = advance(first.state, counter(10, 7), "boot", GAP)
    assert (still.interval, still.gap) == (None, None)
    moved = advance(still.state, counter(20, 1007), "boot", GAP)
    assert (moved.interval.start_ns, moved.interval.energy_uj) == (0, 1000)


def test_a_reboot_and_a_step_back_of_time():
    assert two(counter(0, 7), counter(10, 9), ("one", "two")).gap.reason == UNBOUNDED + "reboot"
    set_back = two(counter(100, 7, max_mw=1000), counter(10, 9, max_mw=1000), ("one", "two")).gap
    assert (set_back.start_ns, set_back.end_ns) == (10 * S, 10 * S)
    assert set_back.reason == UNBOUNDED + "reboot"  # no clock shows how long it was
    backwards = MeterReading("n", Scope.NODE, 5 * S, 12 * S, power_mw=1000)
    step = advance(advance(None, power(10, 1000), "boot", GAP).state, backwards, "boot", GAP)
    assert step.interval.start_ns == 3 * S  # as long as the boot clock says
