"""Configuration of a site's electricity invoices and of readings of its supply meters."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from energy_agent.config.section import Section
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.site.building.invoices import InvoicedEnergy, ReadEnergy
from energy_agent.site.building.tariffs import midnight_ns
from energy_agent.site.config.contracts import Day
from energy_agent.site.config.currency import Currency


class ElectricityInvoice(Section):
    """Electricity of the site that a supplier or landlord invoiced for a period."""

    number: str = Field(min_length=1, max_length=100, description="number of the invoice")
    meter: str = Field("", max_length=100, description="metering point, if the site has several")
    start: Day = Field(description="first day, in the site's time zone")
    end: Day = Field(description="last day, inclusive")
    kwh: float = Field(ge=0, le=1e9, description="energy that is invoiced for this period; that of a credit is not counted")
    basis: Literal["read", "estimated"] = Field(
        "read", description="whether the supplier read the meter or estimated the energy"
    )
    accuracy_percent: float = Field(2.0, gt=0, le=50, description="bound of the error in percent, such as the meter's class")
    peak_kw: float | None = Field(None, ge=0, le=1e7, description="peak demand that is charged, a mean over 15 minutes")
    amount: float | None = Field(
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
    def _without_negative_energy(cls, value: object) -> object:
        if isinstance(value, int | float) and value < 0:
            raise ValueError(
                f"expected no negative energy, got {value:g}: a credit has a negative amount and 0 kWh; "
                "correct the kWh of the invoice that it credits"
            )
        return value

    @model_validator(mode="after")
    def _sound(self) -> Self:
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
            midnight_ns(self.start, zone),
            midnight_ns(self.end + timedelta(days=1), zone),
            int(Decimal(repr(self.kwh)) * UJ_PER_KWH),
            Fraction(Decimal(repr(self.accuracy_percent))) / 100,
            self.basis == "estimated",
            None if self.peak_kw is None else Decimal(repr(self.peak_kw)),
            None if self.amount is None else Decimal(repr(self.amount)),
            self.currency,
            self.tax == "included",
        )


class RegisterReading(Section):
    """The register of a supply meter, as somebody read it."""

    meter: str = Field(min_length=1, max_length=100, description="metering point, as in the invoices")
    day: Day = Field(description="day of the reading, taken as its first moment in the site's time zone")
    kwh: float = Field(ge=0, le=1e12, description="register of the meter")
    multiplier: float = Field(1.0, gt=0, le=1e6, description="factor of the register, such as a transformer ratio")
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
                f"meter {new.meter!r} reads {new.kwh:g} kWh on {new.day}, less than {old.kwh:g} kWh on {old.day}; "
                "give a new meter another name"
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


def energy_between(readings: Sequence[RegisterReading], zone: ZoneInfo) -> tuple[ReadEnergy, ...]:
    """Return the energy between each reading of a meter and its next one."""
    return tuple(
        ReadEnergy(
            new.meter,
            midnight_ns(old.day, zone),
            midnight_ns(new.day, zone),
            int((Decimal(repr(new.kwh)) - Decimal(repr(old.kwh))) * Decimal(repr(new.multiplier)) * UJ_PER_KWH),
        )
        for old, new in _read_pairs(readings)
    )


def _neighbours(invoices: Sequence[ElectricityInvoice]) -> Iterable[tuple[ElectricityInvoice, ElectricityInvoice]]:
    for meter in sorted({each.meter for each in invoices}):
        yield from pairwise(sorted((i for i in invoices if i.meter == meter), key=lambda i: i.start))


def _read_pairs(readings: Sequence[RegisterReading]) -> Iterable[tuple[RegisterReading, RegisterReading]]:
    for meter in sorted({each.meter for each in readings}):
        yield from pairwise(sorted((r for r in readings if r.meter == meter), key=lambda r: r.day))
