"""Terms: nobody is steered further than the node's owner allows, and the most specific word counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.terms import Said, merged, span
from dvfs.types import Mode, Terms

MODES = st.none() | st.sampled_from(Mode)
ORDER = [Mode.OBSERVE, Mode.SHADOW, Mode.ENFORCE]
SAID = st.builds(
    Said, MODES, st.none() | st.sampled_from([("static",), ("progress", "phase")]), st.none() | st.floats(0.01, 0.5),
    st.none() | st.floats(0.1, 2), st.none() | st.floats(0.01, 1), st.none() | st.floats(0.6, 0.99),
    st.none() | st.integers(100_000, 700_000), st.none() | st.booleans(),
    st.none() | st.lists(st.sampled_from([span("Mon-Fri 08:00-18:00"), span("22:00-06:00")]), max_size=2).map(tuple),
)  # fmt: skip


@given(SAID, st.lists(SAID, max_size=3), st.floats(0.01, 0.2), st.integers(0, 6), st.integers(0, 1439))
def test_others_only_ever_narrow(node: Said, others: list[Said], most: float, day: int, minute: int) -> None:
    terms = merged(node, others, most, day, minute)
    alone = merged(node, [], most, day, minute)
    assert ORDER.index(terms.mode) <= ORDER.index(alone.mode) <= ORDER.index(node.mode or Mode.OBSERVE)
    for one in others:
        assert one.mode is None or ORDER.index(terms.mode) <= ORDER.index(one.mode)
        assert one.cap_mw is None or terms.cap_mw <= one.cap_mw
    assert node.cap_mw is None or terms.cap_mw <= node.cap_mw
    assert terms.slowdown_ratio <= max(most, alone.slowdown_ratio)
    if not any(o.slowdown_ratio is not None for o in others):
        assert terms.slowdown_ratio == alone.slowdown_ratio
    said = [o for o in (node, *others) if o.ttft_s is not None]
    assert terms.ttft_s == (said[-1].ttft_s if said else None)


def test_defaults_steer_nothing() -> None:
    assert merged(Said(), [Said(mode=Mode.ENFORCE)], 0.1, 0, 0) == Terms()


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Mon-Fri 08:00-18:00", [(0, 480), (4, 1079)], [(0, 479), (4, 1080), (5, 600)]),
        ("Sat,Sun 00:00-24:00", [(5, 0), (6, 1439)], [(4, 1439), (0, 0)]),
        ("22:00-06:00", [(0, 1320), (3, 0), (6, 359)], [(0, 360), (2, 1319)]),
        ("Fri 22:00-06:00", [(4, 1320), (5, 359)], [(5, 1320), (4, 359)]),
        ("Fri-Mon 10:00-11:00", [(4, 600), (6, 600), (0, 659)], [(1, 600), (3, 600)]),
    ],
)
def test_times_of_the_week(text: str, inside: list[tuple[int, int]], outside: list[tuple[int, int]]) -> None:
    assert all(span(text).holds(*at) for at in inside)
    assert not any(span(text).holds(*at) for at in outside)


@pytest.mark.parametrize("text", ["", "Mon", "Mon 8-18", "Mon 08:00", "Mo 08:00-18:00", "08:60-09:00", "08:00-25:00", "a b c",
                                  "08:00-08:00", "24:00-06:00", "Mon-Fri 08:00-18:00 x", "mon- 08:00-09:00"])  # fmt: skip
def test_times_that_are_none_say_what_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match=r"DAYS HH:MM|no time at all"):
        span(text)
