"""A series as it was known: what was learnt later changes nothing earlier, and the order of arrival changes nothing at all."""

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.series import About, IntensityPoint, IntensitySeries, decimal_text, series
from tests.support import refusal

ABOUT = About("test", "DE", Basis(EmissionBoundary.LIFE_CYCLE), "somebody", "a licence")
HOUR = 3600


def point(start: int, grams: str, known_ns: int = 0, length: int = HOUR, estimated: bool = False) -> IntensityPoint:
    return IntensityPoint(start, start + length, Decimal(grams), estimated, known_ns)


points = st.builds(
    lambda begin, length, grams, estimated, known_ns, method: IntensityPoint(
        begin, begin + length, grams, estimated, known_ns, method
    ),
    st.integers(0, 20).map(lambda n: n * 900),
    st.sampled_from([300, 900, 1800, 3600]),
    st.integers(0, 2000).map(Decimal),
    st.booleans(),
    st.integers(0, 5),
    st.sampled_from(["", "A", "B"]),
)


def test_a_revision_counts_from_when_it_was_learnt_for_the_time_that_it_is_of() -> None:
    intensities = series(ABOUT, [point(0, "100", known_ns=10, estimated=True), point(0, "120", known_ns=20)])
    assert intensities.as_of(9).pieces() == ()
    assert [(p.g_per_kwh, p.estimated) for p in intensities.as_of(19).pieces()] == [(100, True)]
    assert [(p.g_per_kwh, p.estimated) for p in intensities.as_of(20).pieces()] == [(120, False)]
    intensities = series(ABOUT, [point(0, "100", known_ns=1), point(900, "80", known_ns=2, length=900)])
    pieces = [(p.start_ns, p.end_ns, int(p.g_per_kwh)) for p in intensities.pieces()]
    assert pieces == [(0, 900, 100), (900, 1800, 80), (1800, 3600, 100)]


@given(st.lists(points, max_size=25), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(drawn_points: list[IntensityPoint], chance) -> None:  # type: ignore[no-untyped-def]
    shuffled = [*drawn_points, *drawn_points[:3]]
    chance.shuffle(shuffled)
    assert series(ABOUT, shuffled) == series(ABOUT, drawn_points)
    assert series(ABOUT, shuffled).sha256 == series(ABOUT, drawn_points).sha256


@given(st.lists(points, max_size=15), st.lists(points, max_size=15), st.integers(0, 5))
def test_what_is_learnt_later_changes_nothing_earlier(
    drawn_points: list[IntensityPoint], more: list[IntensityPoint], moment: int
) -> None:
    later = [p for p in more if p.known_ns > moment]
    before, after = series(ABOUT, drawn_points).as_of(moment), series(ABOUT, [*drawn_points, *later]).as_of(moment)
    assert (before.sha256, before.pieces()) == (after.sha256, after.pieces())


@given(st.lists(points, max_size=20))
def test_each_instant_has_what_was_learnt_last_of_it(drawn_points: list[IntensityPoint]) -> None:
    """Compare with a lookup of each five-minute step."""
    pieces = series(ABOUT, drawn_points).pieces()
    assert all(a.end_ns <= b.start_ns for a, b in pairwise(pieces))
    for t in range(0, 30 * 900, 300):
        here = [p for p in drawn_points if p.start_ns <= t < p.end_ns]
        current = [p for p in pieces if p.start_ns <= t < p.end_ns]
        assert len(current) == bool(here)
        if here:
            newest = max(p.known_ns for p in here)
            shortest = min(p.end_ns - p.start_ns for p in here if p.known_ns == newest)
            may = {(p.g_per_kwh, p.estimated) for p in here if p.known_ns == newest and p.end_ns - p.start_ns == shortest}
            assert (current[0].g_per_kwh, current[0].estimated) in may


def test_hash_depends_on_content_and_not_on_the_packer() -> None:
    intensities = series(ABOUT, [point(0, "100")])
    packed = IntensitySeries(About("test", "DE", ABOUT.basis, "another name", "another licence"), intensities.points)
    assert packed.sha256 == intensities.sha256
    assert series(ABOUT, [point(0, "101")]).sha256 != intensities.sha256
    assert series(ABOUT, [point(0, "100", known_ns=1)]).sha256 != intensities.sha256
    direct = About("test", "DE", Basis(EmissionBoundary.DIRECT), "somebody", "a licence")
    assert IntensitySeries(direct, intensities.points).sha256 != intensities.sha256


def test_a_point_that_cannot_be_is_none_and_one_value_has_one_text() -> None:
    for start, end, grams in ((0, 0, "1"), (5, 4, "1"), (-1, 4, "1"), (0, 1, "-1"), (0, 1, "NaN"), (0, 1, "Infinity"),
                              (0, 1, "10001"), (0, 1, "1." + "1" * 30)):  # fmt: skip
        assert refusal(IntensityPoint, start, end, Decimal(grams), False, 0, error=ValueError)
    assert [decimal_text(Decimal(t)) for t in ("1.50", "100", "1E+2", "0.0", "0.10")] == ["1.5", "100", "100", "0", "0.1"]
