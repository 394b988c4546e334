"""When health is read: every group of every device once a period, spread over its sweeps."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_S
from energy_agent.reader_health import HealthRounds


@given(devices=st.integers(1, 16), groups=st.integers(1, 8), period_s=st.integers(10, 300))
def test_a_period_visits_everything_once_and_evenly(devices: int, groups: int, period_s: int) -> None:
    rounds = HealthRounds([f"group {g}" for g in range(groups)], period_s * NS_PER_S)
    rounds.due(range(devices), 0)
    visits = [rounds.due(range(devices), s * NS_PER_S) for s in range(1, 3 * period_s + 1)]
    steps = devices * groups
    assert sum(map(len, visits)) in (3 * steps - 1, 3 * steps)  # the last may still be owed by a rounding
    assert set(Counter(step for due in visits for step in due).values()) <= {2, 3}
    assert max(map(len, visits)) <= steps // period_s + 1


def test_a_pause_owes_no_more_than_a_round() -> None:
    rounds = HealthRounds(["a", "b"], 10 * NS_PER_S)
    rounds.due([0, 1], 0)
    assert sorted(rounds.due([0, 1], 3600 * NS_PER_S)) == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_without_a_device_nothing_is_due() -> None:
    rounds = HealthRounds(["a"], 10 * NS_PER_S)
    assert rounds.due([], 0) == rounds.due([], 10 * NS_PER_S) == []
