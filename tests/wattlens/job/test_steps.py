"""Laws of the steps of a job over nodes: nodes that do the same steps count once, attempts that follow each other are added."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_S
from wattlens.job.steps import REPORT_NS, StepInterval, count_steps

S = NS_PER_S
INTERVALS = st.lists(
    st.builds(
        lambda start, length, steps: StepInterval(start * S, (start + length) * S, steps),
        st.integers(0, 60),
        st.integers(1, 20),
        st.integers(0, 100),
    ),
    max_size=7,
)


def largest_sum(intervals):
    """The count by trying every subset."""
    best = 0
    for size in range(len(intervals) + 1):
        for chosen in combinations(intervals, size):
            if all(a.end_ns <= b.start_ns or b.end_ns <= a.start_ns for a, b in combinations(chosen, 2)):
                best = max(best, sum(each.steps for each in chosen))
    return best


@given(INTERVALS)
def test_the_count_is_the_largest_sum_of_intervals_that_do_not_overlap(intervals):
    assert count_steps(intervals, overlap_ns=0) == largest_sum(intervals)


@given(INTERVALS)
def test_the_count_is_between_the_largest_interval_and_the_sum(intervals):
    steps = [each.steps for each in intervals]
    assert max(steps, default=0) <= count_steps(intervals) <= sum(steps)


@given(INTERVALS, st.integers(1, 128))
def test_nodes_that_take_the_same_steps_count_once(intervals, nodes):
    assert count_steps(intervals * nodes, overlap_ns=0) == count_steps(intervals, overlap_ns=0)


@given(st.lists(st.tuples(st.integers(10, 900), st.integers(1, 10_000), st.integers(0, 60)), max_size=20), st.integers(1, 4))
def test_attempts_on_changing_nodes_are_added(attempts, nodes):
    at, intervals = 0, []
    for length_s, steps, pause_s in attempts:
        intervals += [StepInterval(at * S, (at + length_s) * S, steps)] * nodes
        at += length_s + pause_s
    assert count_steps(intervals) == sum(steps for _, steps, _ in attempts)


def test_reports_at_a_change_of_nodes_may_overlap_by_two_periods():
    first, second = StepInterval(0, 100 * S, 90), StepInterval(100 * S - REPORT_NS, 200 * S, 80)
    assert count_steps([first, second]) == 170
    assert count_steps([first, second._replace(start_ns=90 * S)]) == 90
