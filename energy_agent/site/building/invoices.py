"""Energy that a supplier invoiced and that somebody read off its meters, over a window and by the supplier's own periods. Pure.

How the energy of one invoice falls within it is unknown. A share s of an invoice of E with the relative error r is therefore
off by at most max(s, 1 + r - s) E, as a share of a water bill is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

READING_ERROR: Final = Fraction(2, 100)
"""Error of the energy between two readings, as assumed of an invoice that states none."""


@dataclass(frozen=True, slots=True)
class InvoicedEnergy:
    """One invoice, or one line of it.

    Args:
        number: of the invoice.
        meter: metering point; "": the only one of the site.
        start_ns: UTC ns of the local midnight at which its period begins.
        end_ns: UTC ns of the one at which it ends.
        uj: energy in uJ.
        relative: bound of its error, as a share.
        estimated: the supplier estimated it instead of reading the meter.
        peak_kw: peak that the supplier charges, a mean of 15 minutes; None if not stated.
        amount: money for this period; None if not stated.
        currency: ISO 4217; "" without an amount.
        with_tax: `amount` includes taxes on sales such as VAT.
        read: it is energy between two readings of the meter, in place of an invoice.
    """

    number: str
    meter: str
    start_ns: int
    end_ns: int
    uj: int
    relative: Fraction = Fraction(0)
    estimated: bool = False
    peak_kw: Decimal | None = None
    amount: Decimal | None = None
    currency: str = ""
    with_tax: bool = False
    read: bool = False


@dataclass(frozen=True, slots=True)
class InvoicedMoney:
    """Money of a window.

    Args:
        value: exactly; an invoice that reaches beyond the window counts by time.
        bound: absolute bound of the error that this makes: a share s of an amount A is off by at most max(s, 1 - s) A.
        cut: (number, share by time) of each invoice that reaches beyond the window.
    """

    value: Fraction
    bound: Fraction
    cut: tuple[tuple[str, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadEnergy:
    """Energy between two readings of a meter's register; `uj` has the meter's multiplier."""

    meter: str
    start_ns: int
    end_ns: int
    uj: int


@dataclass(frozen=True, slots=True)
class EnergyInWindow:
    """Energy of a window.

    Args:
        uj: energy, exactly.
        bound: absolute bound of its error, in uJ.
        known: share of the window that is known, of the metering point of which the least is.
        estimated_uj: part of `uj` that the supplier estimated.
        rows: number of invoices or intervals between readings that have a part in it.
    """

    uj: Fraction
    bound: Fraction
    known: Fraction
    estimated_uj: Fraction
    rows: int

    @property
    def whole(self) -> bool:
        """Whether all of the window is known."""
        return self.known == 1


def invoiced_in(rows: Iterable[InvoicedEnergy], start_ns: int, end_ns: int) -> EnergyInWindow:
    """Return the invoiced energy of a window; an invoice that reaches beyond it counts by time."""
    return _in_window([(r.meter, r.start_ns, r.end_ns, r.uj, r.relative, r.estimated) for r in rows], start_ns, end_ns)


def money_in(rows: Iterable[InvoicedEnergy], start_ns: int, end_ns: int) -> InvoicedMoney:
    """Return the invoiced money of a window. Every row that has a part in it states its amount, all in one currency."""
    value = bound = Fraction(0)
    cut = []
    for row in rows:
        inside_ns = min(row.end_ns, end_ns) - max(row.start_ns, start_ns)
        if inside_ns <= 0:
            continue
        assert row.amount is not None
        amount, share = Fraction(row.amount), Fraction(inside_ns, row.end_ns - row.start_ns)
        value += amount * share
        if share < 1:
            bound += abs(amount) * max(share, 1 - share)
            cut.append((row.number, share))
    return InvoicedMoney(value, bound, tuple(cut))


def read_in(rows: Iterable[ReadEnergy], start_ns: int, end_ns: int) -> EnergyInWindow:
    """Return the energy of a window by readings; an interval that reaches beyond it counts by time."""
    return _in_window([(r.meter, r.start_ns, r.end_ns, r.uj, Fraction(0), False) for r in rows], start_ns, end_ns)


def with_readings(invoices: Sequence[InvoicedEnergy], readings: Sequence[ReadEnergy]) -> tuple[InvoicedEnergy, ...]:
    """Return the invoices of a site, with readings of the same metering point where an invoice is missing or estimated.

    An invoice that the supplier read stands. An estimated one is replaced if readings cover all of its time. A reading counts
    only if all of the time since the one before it has no other invoice. The one metering point of all invoices is that of all
    readings, whatever its name.
    """
    meters = {i.meter for i in invoices}
    points = set(metering_points([(r.meter, r.start_ns, r.end_ns) for r in readings]).values())
    only = next(iter(meters)) if len(meters) == len(points) == 1 else None
    rows = [
        InvoicedEnergy(f"reading of {r.meter}", r.meter if r.meter in meters or only is None else only, r.start_ns, r.end_ns,
                       r.uj, READING_ERROR, read=True)
        for r in readings
        if not invoices or only is not None or r.meter in meters
    ]  # fmt: skip
    standing = [i for i in invoices if not i.estimated]
    while True:
        rows = [r for r in rows if not any(_shared_ns(r, i) for i in standing)]
        left = [i for i in invoices if i not in standing]
        stay = [i for i in left if sum(_shared_ns(r, i) for r in rows) < i.end_ns - i.start_ns]
        if not stay:
            return tuple(sorted([*standing, *rows], key=lambda i: (i.start_ns, i.meter)))
        standing += stay


def _shared_ns(one: InvoicedEnergy, other: InvoicedEnergy) -> int:
    """Time that two rows of one meter share."""
    return max(0, min(one.end_ns, other.end_ns) - max(one.start_ns, other.start_ns)) if one.meter == other.meter else 0


_Row = tuple[str, int, int, int, Fraction, bool]


def _in_window(rows: Sequence[_Row], start_ns: int, end_ns: int) -> EnergyInWindow:
    uj = bound = estimated = Fraction(0)
    points = metering_points([(meter, first_ns, last_ns) for meter, first_ns, last_ns, *_ in rows])
    known_ns = dict.fromkeys(points.values(), 0)
    count = 0
    for meter, first_ns, last_ns, energy_uj, relative, is_estimate in rows:
        inside_ns = min(last_ns, end_ns) - max(first_ns, start_ns)
        if inside_ns <= 0:
            continue
        count += 1
        share = Fraction(inside_ns, last_ns - first_ns)
        known_ns[points[meter]] += inside_ns
        uj += energy_uj * share
        bound += energy_uj * (relative if share == 1 else max(share, 1 + relative - share))
        estimated += energy_uj * share if is_estimate else 0
    known = Fraction(min(known_ns.values(), default=0), end_ns - start_ns)
    return EnergyInWindow(uj, bound, known, estimated, count)


def metering_points(spans: Iterable[tuple[str, int, int]]) -> dict[str, str]:
    """Return the metering point of each meter, by the name of its first meter.

    A meter replaces another if it begins at the instant at which the other ends. A meter is replaced by one other at most.

    Args:
        spans: meter, begin and end of each of its invoices or intervals between readings.
    """
    life: dict[str, tuple[int, int]] = {}
    for meter, start_ns, end_ns in spans:
        first_ns, last_ns = life.get(meter, (start_ns, end_ns))
        life[meter] = min(first_ns, start_ns), max(last_ns, end_ns)
    points: dict[str, str] = {}
    ended: dict[int, list[str]] = {}
    for meter, (start_ns, end_ns) in sorted(life.items(), key=lambda each: (each[1], each[0])):
        replaced = ended.get(start_ns)
        points[meter] = points[replaced.pop(0)] if replaced else meter
        ended.setdefault(end_ns, []).append(meter)
    return points


def spread(rows: Iterable[InvoicedEnergy], start_ns: int, end_ns: int, step_ns: int) -> dict[int, int]:
    """Return invoiced energy by cells of `step_ns`, evenly over each invoice's period, in uJ; the sum of a row is exact."""
    cells: dict[int, int] = {}
    for row in rows:
        first_ns, last_ns = max(row.start_ns, start_ns), min(row.end_ns, end_ns)
        length_ns = row.end_ns - row.start_ns
        for at_ns in range(first_ns - first_ns % step_ns, last_ns, step_ns):
            before = row.uj * (max(at_ns, first_ns) - row.start_ns) // length_ns
            after = row.uj * (min(at_ns + step_ns, last_ns) - row.start_ns) // length_ns
            cells[at_ns] = cells.get(at_ns, 0) + after - before
    return cells
