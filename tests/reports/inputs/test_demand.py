"""Charges for peak demand, worked out by hand."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from reports.inputs.days import midnight_ns
from reports.inputs.tariffs import Tariff, demand_charges, invoiced_demand
from tests.reports.chains import bill

KWH = 3_600_000_000_000
CELL = 900 * 10**9


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def tariff(per_kw: str | None) -> Tariff:
    demand = None if per_kw is None else Decimal(per_kw)
    return Tariff(
        id="t", currency="EUR", default_per_kwh=0.2, valid_from=date(2026, 1, 1), source="contract", demand_per_kw=demand
    )


def test_the_highest_cell_of_each_local_month_is_charged() -> None:
    """25 kWh in 15 minutes are 100 kW. 22:15 UTC on 31 July is August in Berlin, half of which lies in the period."""
    zone = ZoneInfo("Europe/Berlin")
    july, august = utc("2026-07-10"), utc("2026-07-31T22:15")
    cells = {july: 25 * KWH, july + CELL: 24 * KWH, august: 50 * KWH, august + CELL: 50 * KWH}
    start = midnight_ns(date(2026, 7, 1), zone)
    end = midnight_ns(date(2026, 8, 1), zone) + 31 * 43_200 * 10**9
    first, second = demand_charges(cells, [tariff("8.5")], zone, (start, end))
    assert (first.month, first.peak_ns, first.peak_kw, first.money) == ("2026-07", july, 100, 850)
    assert (second.month, second.peak_ns, second.months, second.money) == ("2026-08", august, Fraction(1, 2), 850)


def test_a_month_that_the_period_cuts_is_charged_by_its_own_days() -> None:
    zone = ZoneInfo("UTC")
    cells = {midnight_ns(day, zone): 25 * KWH for day in (date(2026, 2, 20), date(2026, 12, 20), date(2027, 1, 20))}
    window = midnight_ns(date(2026, 2, 16), zone), midnight_ns(date(2027, 1, 22), zone)
    months = {charge.month: charge.months for charge in demand_charges(cells, [tariff("1")], zone, window)}
    assert months == {"2026-02": Fraction(13, 28), "2026-12": 1, "2027-01": Fraction(21, 31)}


def test_without_a_demand_price_there_is_no_charge() -> None:
    assert demand_charges({0: KWH}, [tariff(None)], ZoneInfo("UTC"), (0, CELL)) == ()


def test_peaks_of_invoices_are_charged_and_a_missing_one_is_not_guessed() -> None:
    zone = ZoneInfo("UTC")
    july, august, september = (midnight_ns(date(2026, month, 1), zone) for month in (7, 8, 9))
    rows = [
        bill("R7", july, august, 1, peak_kw=Decimal("640.5")),
        bill("R8", august, september, 1, peak_kw=Decimal(600)),
    ]
    charges = invoiced_demand(rows, [tariff("2")], zone, (july, september))
    assert charges is not None
    assert [(c.month, c.peak_ns, c.money) for c in charges] == [("2026-07", None, 1281), ("2026-08", None, 1200)]
    assert invoiced_demand([rows[0].model_copy(update={"peak_kw": None})], [tariff("2")], zone, (july, september)) is None
    assert invoiced_demand(rows, [tariff(None)], zone, (july, september)) == ()


def test_an_invoice_of_a_quarter_has_three_monthly_prices() -> None:
    """640 kW at 2 EUR/kW and month are 3840 EUR; 46 of its 92 days are half of that. 28 days are one month."""
    zone = ZoneInfo("UTC")
    july, october = midnight_ns(date(2026, 7, 1), zone), midnight_ns(date(2026, 10, 1), zone)
    row = bill("R", july, october, 1, peak_kw=Decimal(640))
    short = row.model_copy(update={"start": date(2026, 2, 1), "end": date(2026, 2, 28)})
    for invoice, end, money in ((row, october, 3840), (row, july + (october - july) // 2, 1920), (short, july, 1280)):
        (charge,) = invoiced_demand([invoice], [tariff("2")], zone, (invoice.start_ns, end)) or ()
        assert charge.money == money
