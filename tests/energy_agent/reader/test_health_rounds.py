"""When health is read: every group once a period, spread over its sweeps."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_S
from energy_agent.reader.health_rounds import HealthRounds


@given(groups=st.integers(1, 8), period_s=st.integers(10, 300))
def test_a_period_visits_every_group_once_and_evenly(groups: int, period_s: int) -> None:
    rounds = HealthRounds([f"group {g}" for g in range(groups)], period_s * NS_PER_S)
    rounds.due(0)
    visits = [rounds.due(s * NS_PER_S) for s in range(1, 3 * period_s + 1)]
    assert sum(map(len, visits)) in (3 * groups - 1, 3 * groups)  # the last may still be owed by a rounding
    assert set(Counter(group for due in visits for group in due).values()) <= {2, 3}
    assert max(map(len, visits)) <= groups // period_s + 1


def test_a_pause_owes_no_more_than_a_round() -> None:
    rounds = HealthRounds(["a", "b"], 10 * NS_PER_S)
    rounds.due(0)
    assert sorted(rounds.due(3600 * NS_PER_S)) == ["a", "b"]
