"""Energy that a supplier invoiced and that somebody read off its meters, in a window and by the supplier's periods. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator, model_validator

from energy_agent.config.section import Day, Exact, Section
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.site.building.spans import Span, overlap_ns
from reports.inputs.currency import Currency
from reports.inputs.days import days_ns, overlapping, refuse_reversed, share_error, share_within


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

    _zone: ZoneInfo = PrivateAttr(ZoneInfo("UTC"))

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
        refuse_reversed(f"invoice {self.number!r}", self.start, self.end)
        if self.amount is not None and not self.currency:
            raise ValueError(f"invoice {self.number!r}: amount needs a currency")
        return self

    def at(self, zone: ZoneInfo) -> Self:
        """Return the invoice with its days in a time zone; without one they are UTC days."""
        invoice = self.model_copy()
        invoice._zone = zone
        return invoice

    @property
    def span(self) -> Span:
        """From the midnight at which its first day begins to the one at which its last day is over, UTC ns."""
        return days_ns(self.start, self.end, self._zone)

    @property
    def start_ns(self) -> int:
        """Start of its span."""
        return self.span[0]

    @property
    def end_ns(self) -> int:
        """End of its span."""
        return self.span[1]

    @property
    def uj(self) -> int:
        """Energy in uJ."""
        return int(self.kwh * UJ_PER_KWH)

    @property
    def relative(self) -> Fraction:
        """Bound of the energy's error, as a share."""
        return Fraction(self.accuracy_percent) / 100

    @property
    def is_estimated(self) -> bool:
        """Whether the supplier estimated the energy."""
        return self.basis == "estimated"


@dataclass(frozen=True, slots=True)
class EnergyInWindow:
    """Energy of a window.

    Args:
        uj: energy, exactly.
        bound: absolute bound of its error, in uJ.
        known_ratio: share of the window that is known, of the metering point of which the least is.
        estimated_uj: part of `uj` that the supplier estimated.
        rows: number of invoices or intervals between readings that have a part in it.
    """

    uj: Fraction
    bound: Fraction
    known_ratio: Fraction
    estimated_uj: Fraction
    rows: int

    @property
    def whole(self) -> bool:
        """Whether all of the window is known."""
        return self.known_ratio == 1


def invoiced_in(rows: Iterable[ElectricityInvoice], window: Span) -> EnergyInWindow:
    """Return the invoiced energy of a window; an invoice that reaches beyond it counts by time."""
    rows = list(rows)
    uj = bound = estimated = Fraction(0)
    points = metering_points(rows)
    known_ns = dict.fromkeys(points.values(), 0)
    count = 0
    for row in rows:
        if not (share := share_within(row.span, window)):
            continue
        count += 1
        known_ns[points[row.meter]] += overlap_ns([row.span], window)
        uj += row.uj * share
        bound += row.uj * share_error(share, row.relative)
        estimated += row.uj * share if row.is_estimated else 0
    known_ratio = Fraction(min(known_ns.values(), default=0), window[1] - window[0])
    return EnergyInWindow(uj, bound, known_ratio, estimated, count)


def read_in(readings: Iterable[ElectricityInvoice], window: Span) -> EnergyInWindow:
    """Return the energy of a window by readings, which are exact; an interval that reaches beyond it counts by time."""
    return invoiced_in([r.model_copy(update={"accuracy_percent": Decimal(0)}) for r in readings], window)


def whole_intervals(readings: Sequence[ElectricityInvoice]) -> dict[tuple[int, int], Fraction]:
    """Return the energy of each interval between two readings in which every metering point is read exactly."""
    totals = {span: read_in(readings, span) for span in {r.span for r in readings}}
    return {span: read.uj for span, read in totals.items() if read.whole and not read.bound}


def with_readings(
    invoices: Sequence[ElectricityInvoice], readings: Sequence[ElectricityInvoice]
) -> tuple[ElectricityInvoice, ...]:
    """Return the invoices of a site, with readings of the same metering point where an invoice is missing or estimated.

    An invoice of a reading by the supplier is kept. An estimated one is replaced if readings cover all of its time. A reading
    counts only if no other invoice covers part of the time since the reading before it. If all invoices have one metering point
    and all readings have one, both are the same point, whatever the names.
    """
    meters = {i.meter for i in invoices}
    points = set(metering_points(readings).values())
    only = next(iter(meters)) if len(meters) == len(points) == 1 else None
    rows = [
        r if only is None else r.model_copy(update={"meter": only})
        for r in readings
        if not invoices or only is not None or r.meter in meters
    ]
    standing, replaceable = ([i for i in invoices if i.is_estimated == estimated] for estimated in (False, True))
    while True:
        rows = [r for r in rows if not any(_shared_ns(r, i) for i in standing)]
        stay = [i for i in replaceable if sum(_shared_ns(r, i) for r in rows) < i.end_ns - i.start_ns]
        if not stay:
            return tuple(sorted([*standing, *rows], key=lambda i: (i.start_ns, i.meter)))
        standing += stay
        replaceable = [i for i in replaceable if i not in stay]


def _shared_ns(one: ElectricityInvoice, other: ElectricityInvoice) -> int:
    """Time that two rows of one meter share."""
    return overlap_ns([one.span], other.span) if one.meter == other.meter else 0


def metering_points(rows: Iterable[ElectricityInvoice]) -> dict[str, str]:
    """Return the metering point of each meter, by the name of its first meter.

    A meter replaces another if it begins at the instant at which the other ends. A meter is replaced by one other at most.
    """
    life: dict[str, tuple[int, int]] = {}
    for row in rows:
        first_ns, last_ns = life.get(row.meter, row.span)
        life[row.meter] = min(first_ns, row.start_ns), max(last_ns, row.end_ns)
    points: dict[str, str] = {}
    ended: dict[int, list[str]] = {}
    for meter, (start_ns, end_ns) in sorted(life.items(), key=lambda each: (each[1], each[0])):
        replaced = ended.get(start_ns)
        points[meter] = points[replaced.pop(0)] if replaced else meter
        ended.setdefault(end_ns, []).append(meter)
    return points


def spread(rows: Iterable[ElectricityInvoice], window: Span, step_ns: int) -> dict[int, int]:
    """Return invoiced energy by cells of `step_ns`, evenly over each invoice's period, in uJ; the sum of a row is exact."""
    cells: dict[int, int] = {}
    for row in rows:
        start_ns, end_ns = row.span
        first_ns, last_ns = max(start_ns, window[0]), min(end_ns, window[1])
        for at_ns in range(first_ns - first_ns % step_ns, last_ns, step_ns):
            before = row.uj * (max(at_ns, first_ns) - start_ns) // (end_ns - start_ns)
            after = row.uj * (min(at_ns + step_ns, last_ns) - start_ns) // (end_ns - start_ns)
            cells[at_ns] = cells.get(at_ns, 0) + after - before
    return cells


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
    counted = [each for n, each in enumerate(invoices) if n not in credited]
    for name in sorted({each.meter for each in counted}):
        for before, after in overlapping(each for each in counted if each.meter == name):
            meter = f" of meter {name!r}" if name else ""
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


def energy_between(readings: Sequence[RegisterReading], zone: ZoneInfo) -> tuple[ElectricityInvoice, ...]:
    """Return the energy between each reading of a meter and its next one, as an invoice of that time would have it.

    Its error is that of an invoice that states none. The limits of an invoice do not apply.
    """
    return tuple(
        ElectricityInvoice.model_construct(
            number=f"reading of {new.meter}",
            meter=new.meter,
            start=old.day,
            end=new.day - timedelta(days=1),
            kwh=(new.kwh - old.kwh) * new.multiplier,
        ).at(zone)
        for old, new in _read_pairs(readings)
    )


def _read_pairs(readings: Sequence[RegisterReading]) -> Iterable[tuple[RegisterReading, RegisterReading]]:
    for meter in sorted({each.meter for each in readings}):
        yield from pairwise(sorted((r for r in readings if r.meter == meter), key=lambda r: r.day))
