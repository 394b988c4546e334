"""Columns of numbers are found, so that their digits stand below one another."""

from reports.page.section import ReportTable
from reports.render.columns import numbers


def test_numbers_with_signs_units_and_gaps_are_numbers() -> None:
    rows = (
        ("1", "12 kWh", "< 0.1 %", "−3.2 kg", "fp8", "≥ 2", "not known", "see 3"),
        ("2", "1\u202f234 kWh", "> 99.9 %", "+1", "bf16", "~4", "0.4 J", "no"),
    )
    assert numbers(ReportTable("", (), rows)) == (False, True, True, True, False, True, True, False)


def test_numeric_columns_ignore_absent_values_and_exclude_dates() -> None:
    rows = (("1", "\u2013", "\u2013", "2026-07-01", ""), ("2", "4 J", "\u2013", "2026-09-30T00:00", "fp8"))
    assert numbers(ReportTable("", (), rows)) == (False, True, True, False, False)


def test_the_first_column_names_the_row_and_a_sentence_is_no_number() -> None:
    assert numbers(ReportTable("", (), (("2026", "2026 was a year in which much happened to many people"),))) == (False, False)
    assert numbers(ReportTable("", ("a", "b"), ())) == (False, False)
