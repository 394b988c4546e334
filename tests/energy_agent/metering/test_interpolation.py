"""Energy between two instants from the ticks of a counter, against power that is known exactly."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.metering.interpolation import PowerRange, Tick, energy_between

LENGTH_S = 0.1
RANGE = PowerRange(60.0, 840.0)
levels_w = st.floats(70, 800)
part = st.floats(0.0, 1.0)


class Course:
    """Power that keeps `watts[k]` for `LENGTH_S / per_tick`, from -LENGTH_S on."""

    def __init__(self, watts, per_tick=1):
        self.step_s, self.watts = LENGTH_S / per_tick, watts
        self.sums = [0.0, *accumulate(w * self.step_s for w in watts)]

    def energy_j(self, at_s):
        k = min(int((at_s + LENGTH_S) / self.step_s), len(self.watts) - 1)
        return self.sums[k] + self.watts[k] * (at_s + LENGTH_S - k * self.step_s)

    def ticks(self, half_s=0.0):
        count = round(len(self.watts) * self.step_s / LENGTH_S)
        return [Tick(t, half_s, self.energy_j(t)) for t in (LENGTH_S * (k - 1) for k in range(count + 1))]


def between(ticks, start_s, end_s):
    return energy_between(ticks, start_s, end_s, RANGE, 1.5 * LENGTH_S)


@given(levels_w, levels_w, st.integers(0, 99), part, part)
def test_one_step_of_power_is_recovered_exactly(before_w, after_w, step, start, end):
    course = Course([before_w] * (200 + step) + [after_w] * (300 - step), per_tick=100)
    start_s, end_s = sorted((0.1 + 0.2 * start, 0.1 + 0.2 * end))
    energy = between(course.ticks(), start_s, end_s)
    assert energy.joules == pytest.approx(course.energy_j(end_s) - course.energy_j(start_s), abs=1e-6)


@given(st.lists(levels_w, min_size=8, max_size=8), st.lists(part, min_size=3, max_size=3))
def test_parts_of_a_window_sum_to_the_whole(watts, cuts):
    ticks, edges = Course(watts).ticks(), sorted(0.05 + 0.6 * cut for cut in cuts)
    parts = [between(ticks, a, b) for a, b in pairwise([0.0, *edges, 0.7])]
    assert sum(part.line_j for part in parts) == pytest.approx(between(ticks, 0.0, 0.7).line_j)
    assert sum(part.joules for part in parts) == pytest.approx(between(ticks, 0.0, 0.7).joules, rel=1e-6, abs=1e-6)


@given(st.lists(levels_w, min_size=60, max_size=60), part, part)
def test_the_bound_holds_for_any_course_of_power_within_its_range(watts, start, end):
    course = Course(watts, per_tick=10)
    start_s, end_s = sorted((0.05 + 0.4 * start, 0.05 + 0.4 * end))
    energy = between(course.ticks(), start_s, end_s)
    truth_j = course.energy_j(end_s) - course.energy_j(start_s)
    assert abs(energy.line_j - truth_j) <= energy.bound_j + 1e-6
    assert RANGE.lowest_w * (end_s - start_s) - 1e-6 <= energy.joules <= RANGE.highest_w * (end_s - start_s) + 1e-6


@given(st.lists(levels_w, min_size=8, max_size=8), part)
def test_energy_grows_with_time(watts, at):
    ticks, at_s = Course(watts).ticks(), 0.6 * at
    assert between(ticks, 0.0, at_s).joules <= between(ticks, 0.0, at_s + 0.05).joules + 1e-9


def test_ticks_that_were_not_seen_leave_the_bound_of_the_range():
    ticks = Course([100.0] * 3 + [700.0] * 5).ticks()
    visible_ticks = [tick for k, tick in enumerate(ticks) if k != 3]
    whole, missed = between(ticks, 0.25, 0.55), between(visible_ticks, 0.25, 0.55)
    assert whole.joules == pytest.approx(700.0 * 0.3)
    assert missed.course_j2 > whole.course_j2 == 0
    assert 0 < abs(missed.line_j - 700.0 * 0.3) <= missed.bound_j


def test_uncertain_instants_of_ticks_widen_both_ends():
    sharp, blurred = (between(Course([400.0] * 8).ticks(half_s), 0.15, 0.45) for half_s in (0.0, 0.003))
    assert sharp.timing_j2 == 0
    assert blurred.timing_j2 == pytest.approx(2 * 400.0**2 * (0.5 * 0.003) ** 2 * 2 / 3)
