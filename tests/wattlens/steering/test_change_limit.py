"""A value that changes at will counts a few times an hour, and one that stays counts always."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wattlens.steering.change_limit import CHANGES_MAX, MINUTE_NS, ChangeLimit

SECOND = 10**9
HOUR_NS = 3600 * SECOND

waits = st.sampled_from([0, 1, 30, 59, 60, 61, 600, 3599, 3600])
histories = st.lists(st.tuples(waits, st.integers(0, 3)), min_size=1, max_size=60)


@given(histories)
def test_at_most_one_change_a_minute_and_a_few_an_hour_count(history):
    limit, now_ns, changes, before = ChangeLimit(), 5, [], None
    for wait_s, value in history:
        now_ns += wait_s * SECOND
        if wait_s * SECOND >= HOUR_NS:
            changes, before = [], None  # whatever is unseen for an hour begins again
        settled = limit.settle("w", value, now_ns)
        assert settled in (value, before, None)
        if settled is not None and before is not None and settled != before:
            assert all(now_ns - each >= MINUTE_NS for each in changes)
            assert sum(now_ns - each < HOUR_NS for each in changes) < CHANGES_MAX
            changes.append(now_ns)
        before = settled if settled is not None else before


@given(histories, st.integers(0, 3))
def test_a_value_that_stays_counts_within_the_hour(history, last):
    limit, now_ns = ChangeLimit(), 0
    for wait_s, value in history:
        now_ns += wait_s * SECOND
        limit.settle("w", value, now_ns)
    for _ in range(61):
        now_ns += MINUTE_NS
        settled = limit.settle("w", last, now_ns)
    assert settled == last
    assert limit.is_settled("w", now_ns)
    assert limit.settle("other", 9, now_ns) == 9  # no key pays for another


@given(st.integers(2, 5), st.integers(1, 59))
def test_a_value_that_changes_more_than_once_a_minute_is_seldom_settled(values, period_s):
    limit = ChangeLimit()
    settled = []
    for turn in range(HOUR_NS // (period_s * SECOND)):
        now_ns = turn * period_s * SECOND
        limit.settle("w", turn % values, now_ns)
        settled.append(limit.is_settled("w", now_ns))
    assert sum(after and not before for before, after in pairwise(settled)) <= CHANGES_MAX
