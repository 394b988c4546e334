"""The arbiter's law: a wish narrows what those before it left, and never leaves it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.governor.arbiter import AS_FOUND, KnobRange, Priority, Wish, at_most, exactly, settle
from dvfs.types import Setting

RANGES = st.tuples(st.integers(0, 2000), st.integers(0, 2000) | st.just(math.inf)).map(lambda r: KnobRange(min(r), max(r)))
WISHES = st.lists(st.builds(Wish, st.sampled_from(Priority), RANGES, RANGES), max_size=6)


@given(WISHES)
def test_the_result_is_in_the_range_of_every_wish_that_no_higher_one_contradicts(wishes: list[Wish]) -> None:
    setting = settle(wishes)
    clock = math.inf if setting.sm_clock_max_mhz is None else setting.sm_clock_max_mhz
    for i, wish in enumerate(ordered := sorted(wishes, key=lambda w: w.priority)):
        higher = ordered[:i]
        fits = all(wish.clock_mhz.low <= h.clock_mhz.high and h.clock_mhz.low <= wish.clock_mhz.high for h in higher)
        pairwise = all(
            a.clock_mhz.low <= b.clock_mhz.high and b.clock_mhz.low <= a.clock_mhz.high for a in higher for b in higher
        )
        if fits and pairwise:  # on a line, ranges that meet in pairs meet all together
            assert wish.clock_mhz.low <= clock <= wish.clock_mhz.high
    if ordered:
        assert ordered[0].clock_mhz.low <= clock <= ordered[0].clock_mhz.high


@given(WISHES, WISHES)
def test_a_lower_wish_never_moves_what_a_higher_one_fixed(wishes: list[Wish], others: list[Wish]) -> None:
    fixed = Wish(Priority.THERMAL, KnobRange(777, 777), KnobRange(333, 333))
    lower = [w for w in (*wishes, *others) if w.priority > Priority.THERMAL]
    assert settle([*lower, fixed]) == Setting(777, 333)


@pytest.mark.parametrize(
    ("wishes", "setting"),
    [
        ([], Setting()),
        ([at_most(Priority.EFFICIENCY, Setting(1005))], Setting(1005)),
        ([at_most(Priority.EFFICIENCY, Setting(1005)), at_most(Priority.EFFICIENCY, Setting(500))], Setting(500)),
        ([exactly(Priority.SLO, Setting(1400)), at_most(Priority.EFFICIENCY, Setting(1005))], Setting(1400)),
        ([exactly(Priority.SLO, None), at_most(Priority.EFFICIENCY, Setting(1005, 300_000))], Setting()),
        ([at_most(Priority.BUDGET, Setting(None, 400_000)), exactly(Priority.SLO, Setting(1400))], Setting(1400, 400_000)),
        ([at_most(Priority.BUDGET, Setting(None, 400_000)), at_most(Priority.EFFICIENCY, Setting(None, 300_000))],
         Setting(None, 300_000)),
        ([Wish(Priority.THERMAL, AS_FOUND), at_most(Priority.BUDGET, Setting(None, 400_000)),
          exactly(Priority.SLO, Setting(1400))], Setting(None, 400_000)),
    ],
    ids=["nobody", "efficiency", "lower of two", "SLO first", "SLO, unlocked", "budget and SLO", "lower cap", "heat"],
)  # fmt: skip
def test_who_comes_first(wishes: list[Wish], setting: Setting) -> None:
    assert settle(wishes) == setting
    assert settle(wishes[::-1]) == setting
