"""Energy times intensities: conservation to the microjoule, sums of parts, and no total of two bases."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.factors.join import CELL_NS, NOWHERE, CarbonTotal, IntensitySource, join, of_factor, of_series
from energy_agent.factors.series import About, IntensityPoint, series
from energy_agent.factors.sets import factor
from tests.support import refusal

LIFE = Basis(EmissionBoundary.LIFE_CYCLE)
HOUR_NS = 3600 * NS_PER_S
MINUTE_NS = 60 * NS_PER_S
FOREVER = 1 << 62


def source_of(
    points: list[IntensityPoint], name: str = "hourly", basis: Basis = LIFE, quality: int = 3, as_of: int = FOREVER
) -> IntensitySource:
    return of_series(series(About(name, "DE", basis, "p", "l", quality=quality), points), as_of)


def hour(number: int, grams: str, estimated: bool = False, known_ns: int = 0) -> IntensityPoint:
    return IntensityPoint(number * HOUR_NS, (number + 1) * HOUR_NS, Decimal(grams), estimated, known_ns)


def kwh(amount: int) -> int:
    return amount * UJ_PER_KWH


def minutes(begin: int, length: int, eighths: int, estimated: bool, known_ns: int) -> IntensityPoint:
    return IntensityPoint(begin * MINUTE_NS, (begin + length) * MINUTE_NS, Decimal(eighths) / 8, estimated, known_ns)


lengths = st.sampled_from([5, 7, 15, 30, 60])
points = st.lists(
    st.builds(minutes, st.integers(0, 150), lengths, st.integers(0, 8000), st.booleans(), st.integers(0, 3)), max_size=12
)
cells = st.dictionaries(st.integers(0, 12).map(lambda n: n * CELL_NS), st.integers(0, 10**13), max_size=13)


def figures(joined: CarbonTotal) -> dict[str, tuple[int, Fraction | None, int, int]]:
    """Statements without those that have no time: a total of parts may name them."""
    return {s.id: (s.uj, s.grams, s.ns, s.estimated_uj) for s in joined.statements if s.ns}


def test_the_example_of_three_hours_and_what_no_source_knows() -> None:
    """1 kWh at 400 g in each of two hours, then one that only the year's factor knows: 0.4 + 0.4 + 0.344 kg."""
    germany = factor("DEU", 2024, LIFE).factor
    energy = {n * CELL_NS: kwh(1) // 4 for n in range(12)}
    hourly = source_of([hour(0, "400"), hour(1, "400", estimated=True)])
    total = join(energy, [hourly, of_factor(germany, ["no hourly value of 2026"])])
    first, second = total.statements
    assert (first.uj, first.grams, first.hours, first.quality, first.reasons) == (kwh(2), 800, 2, 3, ())
    assert first.estimated_share == Fraction(1, 2)
    assert (second.id, second.uj, second.hours, second.quality) == (germany.id, kwh(1), 1, 5)
    assert (second.grams, total.grams) == (Fraction("344.13992"), Fraction("1144.13992"))
    assert second.reasons == ("no hourly value of 2026", f"{first.id}: no value for 1 h")
    total = join({0: 1000, HOUR_NS: 500}, [source_of([hour(0, "360")])])
    first_use, nowhere = total.statements
    assert (first_use.id == NOWHERE, nowhere.id == NOWHERE) == (False, True)
    assert (nowhere.uj, nowhere.grams, nowhere.quality) == (500, None, None)
    assert nowhere.reasons == (f"{first_use.id}: no value for 0.25 h",)
    assert (total.grams, total.uj_unknown, total.uj) == (None, 500, 1500)  # the total is absent
    assert total.grams_known == Fraction(360 * 1000, UJ_PER_KWH)


@given(cells, points, points)
def test_the_energy_of_the_statements_is_the_energy(
    energy: dict[int, int], first: list[IntensityPoint], second: list[IntensityPoint]
) -> None:
    total = join(energy, [source_of(first, "a"), source_of(second, "b")])
    assert total.uj == sum(energy.values())
    assert sum(s.ns for s in total.statements) == len(energy) * CELL_NS
    assert all(0 <= s.estimated_uj <= s.uj for s in total.statements)


@given(cells, points, points)
def test_grams_are_energy_by_the_minute_times_what_holds_then(
    energy: dict[int, int], first: list[IntensityPoint], second: list[IntensityPoint]
) -> None:
    """Against a plain model: each minute's fraction of its cell by the value that was learnt last, without any rounding."""
    sources = [source_of(first, "a"), source_of(second, "b")]
    total = join(energy, sources)
    grams, parts = Fraction(0), 0
    for start, uj in energy.items():
        for minute in range(15):
            t = start + minute * MINUTE_NS
            pieces = [p for s in sources for p in s.pieces if p.start_ns <= t < p.end_ns]
            parts += 1
            if pieces:
                grams += Fraction(uj, 15) * Fraction(pieces[0].g_per_kwh) / UJ_PER_KWH
    assert abs(total.grams_known - grams) <= Fraction(1000 * parts, UJ_PER_KWH)  # at most a microjoule a part is moved


@given(cells, points, points, st.integers(0, 3))
def test_a_past_total_stays_when_something_is_learnt_later(
    energy: dict[int, int], first: list[IntensityPoint], more: list[IntensityPoint], moment: int
) -> None:
    later = [p for p in more if p.known_ns > moment]
    assert join(energy, [source_of(first, as_of=moment)]) == join(energy, [source_of([*first, *later], as_of=moment)])


@given(cells, points, st.randoms(use_true_random=False))
def test_the_order_of_points_and_cells_changes_nothing(energy: dict[int, int], first: list[IntensityPoint], chance) -> None:  # type: ignore[no-untyped-def]
    shuffled, items = list(first), list(energy.items())
    chance.shuffle(shuffled)
    chance.shuffle(items)
    assert join(dict(items), [source_of(shuffled)]) == join(energy, [source_of(first)])


def test_two_bases_in_one_total_are_refused() -> None:
    one = source_of([hour(0, "1")])
    for other in (
        Basis(EmissionBoundary.DIRECT),
        Basis(EmissionBoundary.LIFE_CYCLE, gases=Gases.CO2),
        Basis(LIFE.boundary, Accounting.RESIDUAL),
    ):
        two = source_of([hour(0, "1")], "b", other)
        line = refusal(join, {0: 1}, [one, two])
        assert str(LIFE) in line
        assert str(other) in line
    co2 = of_factor(factor("CN-BJ", 2023, Basis(EmissionBoundary.DIRECT, gases=Gases.CO2)).factor)
    assert "CO2e" in refusal(join, {0: 1}, [co2, of_factor(factor("GBR", 2023, Basis(EmissionBoundary.DIRECT)).factor)])
    assert str(join({0: 1}, [co2]).basis) == "direct, location, CO2"


def test_no_source_and_one_twice_are_refused() -> None:
    assert "no carbon intensity" in refusal(join, {0: 1}, [])
    assert "duplicate source" in refusal(join, {0: 1}, [source_of([hour(0, "1")]), source_of([hour(0, "1")])])
    assert "cannot split" in refusal(join, {0: -1}, [source_of([hour(0, "1")])], error=ValueError)


def test_quarter_of_a_fleet_stays_exact() -> None:
    """7.9e19 uJ is past int64 and past what a float counts."""
    energy = {n * CELL_NS: 8_936_651_583_710_407 for n in range(92 * 96)}
    joined = join(energy, [source_of([hour(n, "381.5") for n in range(92 * 24)])])
    assert joined.grams == Fraction("381.5") * 8_936_651_583_710_407 * 92 * 96 / UJ_PER_KWH
