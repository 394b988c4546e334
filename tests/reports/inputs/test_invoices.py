"""Energy of invoices and readings over a window, worked out by hand."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from reports.inputs.invoices import ElectricityInvoice, invoiced_in, metering_points, read_in, spread
from tests.reports.chains import bill, reading

KWH = 3_600_000_000_000
DAY = 86_400 * 10**9
CELL = 900 * 10**9


def invoice(
    first: int, last: int, kwh: int, meter: str = "", percent: int = 2, *, estimated: bool = False
) -> ElectricityInvoice:
    basis = "estimated" if estimated else "read"
    return bill("R", first * DAY, last * DAY, kwh, percent, meter=meter, basis=basis)


def test_whole_invoices_add_up_with_the_bound_of_their_meters() -> None:
    """31 days of 310 kWh and 30 of 600, each 2 % off at most: 910 kWh, 18.2 off. The second is an estimate."""
    total = invoiced_in([invoice(0, 31, 310), invoice(31, 61, 600, estimated=True)], (0, 61 * DAY))
    assert (total.uj, total.bound, total.estimated_uj) == (910 * KWH, Fraction(182, 10) * KWH, 600 * KWH)
    assert total.whole
    assert total.rows == 2


def test_an_invoice_that_the_window_cuts_counts_by_time_and_may_be_all_or_nothing() -> None:
    """Ten of 30 days of 300 kWh are 100 kWh. With 2 % more the other 20 days may have had none: 306 - 100 = 206 off."""
    total = invoiced_in([invoice(0, 30, 300)], (20 * DAY, 30 * DAY))
    assert (total.uj, total.bound) == (100 * KWH, 206 * KWH)


def test_a_meter_that_begins_when_another_ends_replaces_it() -> None:
    """a is replaced by b, and b by c; of d and e, which begin together, one replaces c. f begins a day late."""
    times = [("a", 0, 10), ("b", 10, 15), ("b", 15, 20), ("c", 20, 30), ("d", 30, 40), ("e", 30, 40), ("f", 41, 50)]
    points = metering_points(reading(meter, first * DAY, last * DAY, 0) for meter, first, last in times)
    assert points == {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e", "f": "f"}
    rows = [invoice(0, 10, 5, "a"), invoice(10, 20, 7, "b")]
    assert invoiced_in(rows, (0, 20 * DAY)).whole
    assert invoiced_in(rows, (10 * DAY, 20 * DAY)).whole  # what ended before the window leaves no gap in it
    assert not invoiced_in([rows[0], invoice(11, 20, 7, "b")], (0, 20 * DAY)).whole


def test_a_gap_and_a_meter_that_was_invoiced_for_less() -> None:
    assert invoiced_in([invoice(0, 10, 1), invoice(15, 20, 1)], (0, 20 * DAY)).known_ratio == Fraction(3, 4)
    assert invoiced_in([invoice(0, 20, 1, "a"), invoice(0, 5, 1, "b")], (0, 20 * DAY)).known_ratio == Fraction(1, 4)
    nothing = invoiced_in([invoice(0, 1, 1)], (5 * DAY, 6 * DAY))
    assert (nothing.rows, nothing.known_ratio, nothing.uj) == (0, 0, 0)


def test_readings_between_two_days() -> None:
    read = read_in([reading("m", 0, 10 * DAY, 100), reading("m", 10 * DAY, 20 * DAY, 50)], (0, 20 * DAY))
    assert (read.uj, read.bound, read.whole) == (150 * KWH, 0, True)


@given(st.integers(0, 10**12), st.integers(0, 40), st.integers(1, 40))
def test_spread_energy_is_the_invoice_to_the_microjoule(thousandths: int, first: int, days: int) -> None:
    row = bill("R", first * DAY, (first + days) * DAY, Decimal(thousandths) / 1000)
    cells = spread([row], (0, 100 * DAY), CELL)
    assert sum(cells.values()) == thousandths * KWH // 1000
    assert max(cells.values()) - min(cells.values()) <= 1


def test_spread_over_a_window_that_begins_within_a_cell() -> None:
    assert spread([bill("R", 0, DAY, 96)], (CELL // 2, 2 * CELL), CELL) == {0: KWH // 2, CELL: KWH}
