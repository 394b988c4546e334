"""Energy that a supplier invoiced and that somebody read off its meters, over a window and by the supplier's own periods. Pure.

How the energy of one invoice falls within it is unknown. A share s of an invoice of E with the relative error r is therefore
off by at most max(s, 1 + r - s) E, as a share of a water bill is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from energy_agent.config.section import Day, Exact, Section
from energy_agent.core.units import UJ_PER_KWH
from reports.inputs.currency import Currency
from reports.inputs.days import days_ns, midnight_ns

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
    rows = list(rows)
    uj = bound = estimated = Fraction(0)
    points = metering_points(rows)
    known_ns = dict.fromkeys(points.values(), 0)
    count = 0
    for row in rows:
        inside_ns = min(row.end_ns, end_ns) - max(row.start_ns, start_ns)
        if inside_ns <= 0:
            continue
        count += 1
        share = Fraction(inside_ns, row.end_ns - row.start_ns)
        known_ns[points[row.meter]] += inside_ns
        uj += row.uj * share
        bound += row.uj * (row.relative if share == 1 else max(share, 1 + row.relative - share))
        estimated += row.uj * share if row.estimated else 0
    known = Fraction(min(known_ns.values(), default=0), end_ns - start_ns)
    return EnergyInWindow(uj, bound, known, estimated, count)


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


def reading_interval(meter: str, start_ns: int, end_ns: int, uj: int) -> InvoicedEnergy:
    """Return the energy between two readings of a meter."""
    return InvoicedEnergy(f"reading of {meter}", meter, start_ns, end_ns, uj, READING_ERROR, read=True)


def read_in(readings: Iterable[InvoicedEnergy], start_ns: int, end_ns: int) -> EnergyInWindow:
    """Return the energy of a window by readings, which are exact; an interval that reaches beyond it counts by time."""
    return invoiced_in([replace(r, relative=Fraction(0)) for r in readings], start_ns, end_ns)


def whole_intervals(readings: Sequence[InvoicedEnergy]) -> dict[tuple[int, int], Fraction]:
    """Return the energy of each interval between two readings in which every metering point is read exactly."""
    totals = {span: read_in(readings, *span) for span in {(r.start_ns, r.end_ns) for r in readings}}
    return {span: read.uj for span, read in totals.items() if read.whole and not read.bound}


def with_readings(invoices: Sequence[InvoicedEnergy], readings: Sequence[InvoicedEnergy]) -> tuple[InvoicedEnergy, ...]:
    """Return the invoices of a site, with readings of the same metering point where an invoice is missing or estimated.

    An invoice that the supplier read stands. An estimated one is replaced if readings cover all of its time. A reading counts
    only if all of the time since the one before it has no other invoice. The one metering point of all invoices is that of all
    readings, whatever its name.
    """
    meters = {i.meter for i in invoices}
    points = set(metering_points(readings).values())
    only = next(iter(meters)) if len(meters) == len(points) == 1 else None
    rows = [
        r if only is None else replace(r, meter=only) for r in readings if not invoices or only is not None or r.meter in meters
    ]
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


def metering_points(rows: Iterable[InvoicedEnergy]) -> dict[str, str]:
    """Return the metering point of each meter, by the name of its first meter.

    A meter replaces another if it begins at the instant at which the other ends. A meter is replaced by one other at most.
    """
    life: dict[str, tuple[int, int]] = {}
    for row in rows:
        first_ns, last_ns = life.get(row.meter, (row.start_ns, row.end_ns))
        life[row.meter] = min(first_ns, row.start_ns), max(last_ns, row.end_ns)
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


class ElectricityInvoice(Section):
    """Electricity of the site that a supplier or landlord invoiced for a period."""

    number: str = Field(min_length=1, max_length=100, description="number of the invoice")
    meter: str = Field("", max_length=100, description="metering point, if the site has several")
    start: Day = Field(description="first day, in the site's time zone")
    end: Day = Field(description="last day, inclusive")
    kwh: Exact = Field(ge=0, le=1e9, description="energy that is invoiced for this period; that of a credit is not counted")
    basis: Literal["read", "estimated"] = Field(
        "read", description="whether the supplier read the meter or estimated the energy"
    )
    accuracy_percent: Exact = Field(
        Decimal(2), gt=0, le=50, description="bound of the error in percent, such as the meter's class"
    )
    peak_kw: Exact | None = Field(None, ge=0, le=1e7, description="peak demand that is charged, a mean over 15 minutes")
    amount: Exact | None = Field(
        None,
        ge=-1e9,
        le=1e9,
        description="amount for this period, with fees; a credit is negative, and may have days and meter of an invoice, which "
        "has the energy",
    )
    currency: Currency = Field("", description="ISO 4217, such as EUR; required with amount")
    tax: Literal["excluded", "included"] = Field(
        "excluded", description="whether the amount includes taxes on sales such as VAT; the same for all invoices of a site"
    )

    @field_validator("kwh", mode="before")
    @classmethod
    def _check_energy(cls, value: object) -> object:
        if isinstance(value, int | float) and value < 0:
            raise ValueError(
                f"expected no negative energy, got {value:g}: a credit has a negative amount and 0 kWh; "
                "correct the kWh of the invoice that it credits"
            )
        return value

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"invoice {self.number!r} ends on {self.end}, before it begins on {self.start}")
        if self.amount is not None and not self.currency:
            raise ValueError(f"invoice {self.number!r}: amount needs a currency")
        return self

    def invoiced(self, zone: ZoneInfo) -> InvoicedEnergy:
        """Return it from local midnight to local midnight."""
        return InvoicedEnergy(
            self.number,
            self.meter,
            *days_ns(self.start, self.end, zone),
            int(self.kwh * UJ_PER_KWH),
            Fraction(self.accuracy_percent) / 100,
            self.basis == "estimated",
            self.peak_kw,
            self.amount,
            self.currency,
            self.tax == "included",
        )


class RegisterReading(Section):
    """The register of a supply meter, as somebody read it."""

    meter: str = Field(min_length=1, max_length=100, description="metering point, as in the invoices")
    day: Day = Field(description="day of the reading, taken as its first moment in the site's time zone")
    kwh: Exact = Field(ge=0, le=1e12, description="register of the meter")
    multiplier: Exact = Field(Decimal(1), gt=0, le=1e6, description="factor of the register, such as a transformer ratio")
    source: str = Field("", max_length=200, description="who read it, or the photo or protocol")


def refuse_unsound(invoices: Sequence[ElectricityInvoice], readings: Sequence[RegisterReading]) -> None:
    """Check that no day is invoiced twice, except by credits, that amounts agree on taxes, and that no register runs backwards.

    Raises:
        ValueError: one does; the message names the invoices or readings.
    """
    credited = credit_positions(invoices)
    for before, after in _neighbours([each for n, each in enumerate(invoices) if n not in credited]):
        if after.start <= before.end:
            meter = f" of meter {after.meter!r}" if after.meter else ""
            raise ValueError(f"energy of {after.start}{meter} is invoiced twice: {before.number!r} and {after.number!r}")
    for one, other in pairwise(each for each in invoices if each.amount is not None):
        if one.tax != other.tax:
            raise ValueError(f"amounts of invoices {one.number!r} ({one.tax}) and {other.number!r} ({other.tax}) differ in tax")
    for old, new in _read_pairs(readings):
        if new.day == old.day:
            raise ValueError(f"meter {new.meter!r} is read twice on {new.day}")
        if new.multiplier != old.multiplier:
            raise ValueError(f"meter {new.meter!r}: its multiplier changes on {new.day}; give the new meter another name")
        if new.kwh < old.kwh:
            raise ValueError(
                f"meter {new.meter!r} reads {float(new.kwh):g} kWh on {new.day}, "
                f"less than {float(old.kwh):g} kWh on {old.day}; give a new meter another name"
            )


def credit_positions(invoices: Sequence[ElectricityInvoice]) -> frozenset[int]:
    """Return the positions of credits: negative amounts for a day and meter that another invoice has.

    A negative amount alone for its days is an invoice at negative prices, and its energy counts.
    """
    others = [each for each in invoices if each.amount is None or each.amount >= 0]
    return frozenset(
        n
        for n, each in enumerate(invoices)
        if each.amount is not None
        and each.amount < 0
        and any(each.meter == i.meter and each.start <= i.end and i.start <= each.end for i in others)
    )


def energy_between(readings: Sequence[RegisterReading], zone: ZoneInfo) -> tuple[InvoicedEnergy, ...]:
    """Return the energy between each reading of a meter and its next one, with the meter's multiplier."""
    pairs = ((midnight_ns(old.day, zone), midnight_ns(new.day, zone), old, new) for old, new in _read_pairs(readings))
    return tuple(
        reading_interval(new.meter, start_ns, end_ns, int((new.kwh - old.kwh) * new.multiplier * UJ_PER_KWH))
        for start_ns, end_ns, old, new in pairs
    )


def _neighbours(invoices: Sequence[ElectricityInvoice]) -> Iterable[tuple[ElectricityInvoice, ElectricityInvoice]]:
    for meter in sorted({each.meter for each in invoices}):
        yield from pairwise(sorted((i for i in invoices if i.meter == meter), key=lambda i: i.start))


def _read_pairs(readings: Sequence[RegisterReading]) -> Iterable[tuple[RegisterReading, RegisterReading]]:
    for meter in sorted({each.meter for each in readings}):
        yield from pairwise(sorted((r for r in readings if r.meter == meter), key=lambda r: r.day))
