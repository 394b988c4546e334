"""Laws of the steps of a job over nodes: nodes that do the same steps count once, attempts that follow each other are added."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_S
from wattlens.job.statement import REPORT_NS, StepInterval, count_steps

S = NS_PER_S
NODES = [("prod", f"gpu{number}", "job") for number in range(4)]
INTERVALS = st.lists(
    st.builds(
        lambda owner, start, length, steps: StepInterval(owner, start * S, (start + length) * S, steps),
        st.sampled_from(NODES),
        st.integers(0, 60),
        st.integers(1, 20),
        st.integers(0, 100),
    ),
    max_size=7,
)


def best_chain(intervals):
    """The count by trying every subset: worth double its steps, less those of the first interval of each owner in turn; of
    equal ones the fewest steps.
    """
    best = 0, 0
    for size in range(len(intervals) + 1):
        for chosen in combinations(sorted(intervals, key=lambda each: each.start_ns), size):
            if all(a.end_ns <= b.start_ns for a, b in pairwise(chosen)):
                steps = sum(each.steps for each in chosen)
                first = sum(b.steps for a, b in pairwise([None, *chosen]) if a is None or a.owner != b.owner)
                best = max(best, (2 * steps - first, -steps))
    return -best[1]


@given(INTERVALS)
def test_the_count_is_that_of_the_best_chain_of_intervals_that_do_not_overlap(intervals):
    assert count_steps(intervals, overlap_ns=0) == best_chain(intervals)


@given(INTERVALS)
def test_the_count_is_between_the_largest_interval_and_the_sum(intervals):
    steps = [each.steps for each in intervals]
    assert max(steps, default=0) <= count_steps(intervals) <= sum(steps)


@given(st.lists(st.lists(st.integers(0, 5), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(12, 1000))
def test_nodes_that_report_the_same_steps_at_different_times_count_once(delays, steps):
    """Each node takes `steps` in every interval, and reports up to 5 of them in the next one; at the end all are reported."""
    intervals = []
    for owner, of_node in zip(NODES, delays, strict=False):
        reported = [steps * (at + 1) - delay for at, delay in enumerate([*of_node, 0])]
        intervals += [
            StepInterval(owner, at * S, (at + 1) * S, after - before)
            for at, (before, after) in enumerate(pairwise([0, *reported]))
        ]
    assert count_steps(intervals, overlap_ns=0) == steps * 6


@given(st.lists(st.tuples(st.integers(10, 900), st.integers(1, 10_000), st.integers(0, 60)), max_size=20), st.integers(1, 4))
def test_attempts_on_changing_nodes_are_added(attempts, nodes):
    at, intervals = 0, []
    for number, (length_s, steps, pause_s) in enumerate(attempts):
        owners = [("prod", f"gpu{number + node}", "job") for node in range(nodes)]
        intervals += [StepInterval(owner, at * S, (at + length_s) * S, steps) for owner in owners]
        at += length_s + pause_s
    assert count_steps(intervals) == sum(steps for _, steps, _ in attempts)


def test_reports_at_a_change_of_nodes_may_overlap_by_two_periods():
    first, second = StepInterval(NODES[0], 0, 100 * S, 90), StepInterval(NODES[1], 100 * S - REPORT_NS, 200 * S, 80)
    assert count_steps([first, second]) == 170
    assert count_steps([first, second._replace(start_ns=90 * S)]) == 90


def test_where_two_nodes_are_scraped_at_different_times_their_steps_count_once():
    """Of 24 steps a window ended after all of one node's and 16 of the other's."""
    rows = [(NODES[0], 0, 10, 24), (NODES[1], 0, 10, 16), (NODES[1], 10, 20, 8)]
    assert count_steps(StepInterval(owner, a * S, b * S, steps) for owner, a, b, steps in rows) == 24
