"""Invoices and readings as they are configured: what is refused, and which energy they are."""

from datetime import date
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from reports.inputs.invoices import (
    ElectricityInvoice,
    RegisterReading,
    credit_positions,
    energy_between,
    refuse_unsound,
)

KWH = 3_600_000_000_000


def invoice(number: str, start: str, end: str, **more: object) -> ElectricityInvoice:
    return ElectricityInvoice.model_validate({"number": number, "start": start, "end": end, "kwh": 100.5, **more})


def reading(day: str, kwh: float, meter: str = "m", multiplier: float = 1) -> RegisterReading:
    return RegisterReading.model_validate({"meter": meter, "day": day, "kwh": kwh, "multiplier": multiplier})


def test_an_invoice_lasts_to_the_end_of_its_last_day() -> None:
    row = invoice("R", "2026-07-01", "2026-07-31", basis="estimated", accuracy_percent=0.5)
    assert (row.end_ns - row.start_ns) == 31 * 86_400 * 10**9
    assert (row.uj, row.relative, row.is_estimated) == (100 * KWH + KWH // 2, Fraction(1, 200), True)


@pytest.mark.parametrize(
    ("more", "says"),
    [({"end": "2026-06-30"}, "ends on 2026-06-30, before it begins"), ({"amount": 5}, "amount needs a currency")],
)
def test_an_invoice_that_contradicts_itself_is_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ElectricityInvoice.model_validate({"number": "R", "start": "2026-07-01", "end": "2026-07-31", "kwh": 1, **more})


def test_a_day_is_invoiced_once_per_meter() -> None:
    july, august = invoice("A", "2026-07-01", "2026-07-31"), invoice("B", "2026-07-31", "2026-08-31")
    with pytest.raises(ValueError, match="energy of 2026-07-31 is invoiced twice: 'A' and 'B'"):
        refuse_unsound([july, august], [])
    refuse_unsound([july.model_copy(update={"meter": "other"}), august], [])


def test_a_credit_with_negative_energy_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValidationError, match="got -20: a credit has a negative amount and 0 kWh; correct the kWh"):
        invoice("C", "2026-07-01", "2026-07-31", amount=-5, currency="EUR", kwh=-20)


def test_text_that_is_two_numbers_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"'40\.000' may be 40 or 40000"):
        invoice("R", "2026-07-01", "2026-07-31", kwh="40.000")
    for text in ("40.5", "0.125", "4000.125"):
        assert invoice("R", "2026-07-01", "2026-07-31", kwh=text).kwh == float(text)


def test_a_credit_may_have_the_days_of_an_invoice_of_its_meter() -> None:
    july = invoice("A", "2026-07-01", "2026-07-31", amount=20, currency="EUR")
    credit = invoice("C", "2026-07-01", "2026-07-31", amount=-5, currency="EUR", kwh=0)
    half = invoice("D", "2026-07-15", "2026-08-14", amount=-1, currency="EUR")
    refuse_unsound([credit, july, half], [])
    assert credit_positions([credit, july, half]) == {0, 2}
    alone = credit.model_copy(update={"meter": "other"})
    assert credit_positions([alone, july]) == frozenset()
    with pytest.raises(ValueError, match="energy of 2026-07-15 is invoiced twice: 'C' and 'D'"):
        refuse_unsound([credit, half], [])


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (reading("2026-08-01", 90), "reads 90 kWh on 2026-08-01, less than 100 kWh on 2026-07-01"),
        (reading("2026-07-01", 100), "is read twice on 2026-07-01"),
        (reading("2026-08-01", 190, multiplier=60), "its multiplier changes on 2026-08-01"),
    ],
)
def test_a_register_that_cannot_be_one_meter_is_refused(second: RegisterReading, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        refuse_unsound([], [reading("2026-07-01", 100), second])


def test_energy_between_readings_has_the_multiplier() -> None:
    """(100.1 - 100) x 60 = 6 kWh, from midnight to midnight of the site; another meter is apart."""
    zone = ZoneInfo("Europe/Berlin")
    rows = [
        reading("2026-08-01", 100.1, multiplier=60),
        reading("2026-07-01", 100, multiplier=60),
        reading("2026-07-15", 3, "n"),
    ]
    (row,) = energy_between(rows, zone)
    assert (row.meter, row.uj, row.end_ns - row.start_ns) == ("m", 6 * KWH, 31 * 86_400 * 10**9)
    assert date(2026, 7, 1) == rows[1].day
