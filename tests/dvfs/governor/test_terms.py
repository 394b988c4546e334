"""Terms: nobody is steered further than the node's owner allows, and the most specific word counts."""

from hypothesis import given
from hypothesis import strategies as st

from dvfs.governor.terms import Said, merged
from dvfs.types import Mode, Terms
from energy_agent.core.week import parse_span

MODES = st.none() | st.sampled_from(Mode)
ORDER = [Mode.OBSERVE, Mode.SHADOW, Mode.ENFORCE]
SPANS = [parse_span("Mon-Fri 08:00-18:00"), parse_span("22:00-06:00")]
SAID = st.builds(
    Said, MODES, st.none() | st.sampled_from([("static",), ("progress", "phase")]), st.none() | st.floats(0.01, 0.5),
    st.none() | st.floats(0.1, 2), st.none() | st.floats(0.01, 1), st.none() | st.floats(0.6, 0.99),
    st.none() | st.integers(100_000, 700_000), st.none() | st.booleans(),
    st.none() | st.lists(st.sampled_from(SPANS), max_size=2).map(tuple),
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
