"""Money and grams of a statement from one price and one carbon intensity. Pure; exact, with the bounds of the energy."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from energy_agent.core.quantity import Quantity, exactly
from energy_agent.core.units import UJ_PER_KWH
from reports.figures.energy import BoundedEnergy
from wattlens.usage.statement import Usage, UsageRow


@dataclass(frozen=True, slots=True)
class ElectricityPrice:
    """What a kWh costs; `text` is how it was written."""

    per_kwh: Fraction
    currency: str
    text: str


def parse_price(text: str) -> ElectricityPrice:
    """A price such as 0.18EUR/kWh.

    Raises:
        ValueError: not one; the text says what was expected.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*([A-Za-z]{3})(?:\s*/\s*kWh)?", text.strip())
    if match is None:
        raise ValueError(f"expected a price per kWh such as 0.18EUR/kWh, got {text[:40]!r}")
    return ElectricityPrice(Fraction(match[1]), match[2].upper(), f"{match[1]} {match[2].upper()}/kWh")


def parse_carbon(text: str) -> Fraction:
    """Grams of CO2e per kWh.

    Raises:
        ValueError: not a number from 0 to 5000.
    """
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,6})?)(?:\s*g(?:/kWh)?)?", text.strip())
    if match is None or Fraction(match[1]) > 5000:
        raise ValueError(f"expected grams of CO2e per kWh from 0 to 5000, such as 380, got {text[:40]!r}")
    return Fraction(match[1])


def with_price(usage: Usage, price: ElectricityPrice) -> Usage:
    """The statement with the cost of every row."""
    rows = tuple(replace(row, cost=times_energy(row.energy, price.per_kwh)) for row in usage.rows)
    total = replace(usage.total, cost=times_energy(usage.total.energy, price.per_kwh))
    basis = {**usage.basis, "cost": f"price {price.text}"}
    return replace(usage, rows=rows, total=total, currency=price.currency, basis=basis)


def with_carbon(usage: Usage, grams_per_kwh: Fraction) -> Usage:
    """The statement with the grams of CO2e of every row."""

    def weigh(row: UsageRow) -> UsageRow:
        return replace(row, carbon=times_energy(row.energy, grams_per_kwh))

    basis = {**usage.basis, "carbon": f"grid carbon intensity {float(grams_per_kwh):g} g/kWh"}
    return replace(usage, rows=tuple(map(weigh, usage.rows)), total=weigh(usage.total), basis=basis)


def times_energy(energy: BoundedEnergy, per_kwh: Fraction) -> Quantity:
    """Energy in uJ, with its bounds, times a value per kWh."""
    return energy.quantity * exactly(per_kwh / UJ_PER_KWH)
