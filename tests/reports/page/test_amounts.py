"""Columns of amounts have one unit and one number of decimals."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.page.amounts import ENERGY, MASS, WATER, AmountColumn, amount_texts, amounts, change_texts, numbers

MWH = 3_600_000_000


@pytest.mark.parametrize(
    ("values", "scale", "column"),
    [
        (
            [Fraction(1773, 100) * MWH, Fraction(263, 1000) * MWH, None],
            ENERGY,
            AmountColumn("MWh", ("17.73", "0.26", "\u2013")),
        ),
        ([Fraction(9_999 * MWH)], ENERGY, AmountColumn("MWh", ("9\u202f999",))),
        ([Fraction(12_345 * MWH)], ENERGY, AmountColumn("GWh", ("12.34",))),
        ([Fraction(8_111_906), Fraction(92_500)], MASS, AmountColumn("t", ("8.112", "0.092"))),
        ([Fraction(8_111_906), Fraction(1)], MASS, AmountColumn("t", ("8.112", "< 0.001"))),
        ([Fraction(-2_000_000), Fraction(0)], MASS, AmountColumn("t", ("\u22122.000", "0.000"))),
        ([Fraction(15_800)], WATER, AmountColumn("m\u00b3", ("15.80",))),
        ([None], WATER, AmountColumn("L", ("\u2013",))),
        ([Fraction(0)], MASS, AmountColumn("g", ("0",))),
    ],
)
def test_a_column_has_one_unit(values: list[Fraction | None], scale: object, column: AmountColumn) -> None:
    assert amounts(values, scale) == column  # type: ignore[arg-type]


def test_texts_of_a_chart_or_sentence_have_one_unit() -> None:
    values = [Fraction(1773, 100) * MWH, Fraction(-387, 1000) * MWH, Fraction(MWH, 10**6), Fraction(0)]
    assert amount_texts([*values[:1], None], ENERGY) == ("17.73 MWh", "\u2013")
    assert change_texts(values, ENERGY) == ("+17.730 MWh", "\u22120.387 MWh", "< 0.001 MWh", "0.000 MWh")


@given(st.lists(st.fractions(min_value=0, max_value=10**9), min_size=2, max_size=6))
def test_cells_and_their_sum_differ_by_at_most_half_a_digit_each(parts: list[Fraction]) -> None:
    cells = numbers([*parts, sum(parts, Fraction(0))])
    assert len({len(cell.partition(".")[2]) for cell in cells}) == 1
    if any("<" in cell for cell in cells):
        return
    read = [Fraction(cell.replace("\u202f", "")) for cell in cells]
    least = Fraction(1, 10 ** len(cells[0].partition(".")[2]))
    assert abs(sum(read[:-1]) - read[-1]) <= least * len(cells) / 2
