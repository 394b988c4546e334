"""The cells of the facts, grouped: rows of exports that sum to the figures of each site, with its unallocated rest. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from reports.figures.facts import Facts
from reports.page.partition import co2e_prefix

SUMMED: Final = ("energy", "energy.gpu", "co2e.location", "co2e.market", "water", "cost")
"""Quantities whose rows of a site sum to the site's figure."""
COUNTED: Final = ("gpu_hours", "tokens.prompt", "tokens.generation")
"""Quantities that only workloads have."""
DIGITS: Final = 15
"""Decimal digits that a double keeps: rows with no more sum exactly in decimal arithmetic."""
PLACES_MAX: Final = 9
UNALLOCATED: Final = "unallocated"
UNASSIGNED: Final = "unassigned"


@dataclass(frozen=True, slots=True)
class AllocatedPart:
    """Everything of one site that shares the labels of a grouping.

    Args:
        labels: value of each dimension of the grouping, "" if the workloads have no such label.
        is_allocated: whether workloads held it; False: the rest of the site, without labels.
        values: amount of each quantity in the unit of its figure; None: not known.
    """

    site: str
    labels: Mapping[str, str]
    is_allocated: bool
    values: Mapping[str, Fraction | None]


def allocated(facts: Facts, dimensions: Sequence[str]) -> Iterator[AllocatedPart]:
    """The parts of every site by some of team, project and model, then the rest of the site.

    A site's rest is its figure minus the parts of workloads that are known: rows sum to the figure to its last digit.
    """
    co2e = co2e_prefix(facts)
    for site in facts.sites:
        by_quantity = {q: {f.id.partition("/")[2]: f for f in facts.by_prefix(_cells(q, co2e, site))} for q in SUMMED + COUNTED}
        groups: dict[tuple[str, ...], list[str]] = {}
        for cell, figure in by_quantity["energy.gpu"].items():
            groups.setdefault(tuple(figure.dims[name] for name in dimensions), []).append(cell)
        part_sums = dict.fromkeys(SUMMED, Fraction(0))
        for labels, cells in sorted(groups.items()):
            values: dict[str, Fraction | None] = {}
            for quantity, of_cell in by_quantity.items():
                amounts = [of_cell[cell].value if cell in of_cell else None for cell in cells]
                if quantity in COUNTED:
                    amounts = [amount for amount in amounts if amount is not None]
                values[quantity] = None if None in amounts or not amounts else sum((a for a in amounts if a), Fraction(0))
            for quantity in SUMMED:
                part_sums[quantity] += values[quantity] or 0
            yield AllocatedPart(site, dict(zip(dimensions, labels, strict=True)), is_allocated=True, values=values)
        totals = {quantity: site_total(facts, quantity, site) for quantity in SUMMED}
        rest = {quantity: None if total is None else total - part_sums[quantity] for quantity, total in totals.items()}
        yield AllocatedPart(site, dict.fromkeys(dimensions, ""), is_allocated=False, values=rest | dict.fromkeys(COUNTED))


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an export: its name, its quantity, and the factor from the figure's unit to the column's."""

    name: str
    quantity: str
    scale: Fraction


def in_units(
    facts: Facts, dimensions: Sequence[str], columns: Sequence[ExportColumn]
) -> Iterator[tuple[AllocatedPart, dict[str, Fraction | None]]]:
    """The parts with their amounts in the units of columns, rounded so that a site's rows sum to its rounded total exactly.

    A column has as many decimal places as a double keeps of the site's total, at most PLACES_MAX.
    """
    written: dict[tuple[str, str], Fraction] = {}
    for part in allocated(facts, dimensions):
        amounts: dict[str, Fraction | None] = {}
        for column in columns:
            value = part.values[column.quantity]
            if value is not None and column.quantity in SUMMED:
                total = site_total(facts, column.quantity, part.site)
                whole = value * column.scale if total is None else total * column.scale
                digits = max(0, min(PLACES_MAX, DIGITS - len(str(int(abs(whole))))))
                key = part.site, column.name
                sum_so_far = written.setdefault(key, Fraction(0))
                value = round(value * column.scale, digits) if part.is_allocated else round(whole, digits) - sum_so_far
                written[key] = sum_so_far + value
            elif value is not None:
                value = round(value * column.scale, PLACES_MAX)
            amounts[column.name] = value
        yield part, amounts


def site_total(facts: Facts, quantity: str, site: str) -> Fraction | None:
    """A site's figure of a quantity, energy at the boundary of its CO2e; None: not known."""
    if quantity == "energy":
        quantity = f"energy.{facts.boundary_of(site)}"
    elif quantity.startswith("co2e."):
        quantity = co2e_prefix(facts) + quantity.removeprefix("co2e.")
    figure = facts.figures.get(f"{quantity}/site/{site}")
    return None if figure is None else figure.value


def _cells(quantity: str, co2e: str, site: str) -> str:
    """How the IDs of a site's cells begin."""
    name = {"energy": "energy.allocated", "energy.gpu": "energy.allocated.gpu"}.get(quantity)
    if name is None and quantity.startswith("co2e."):
        name = f"{co2e}allocated.{quantity.removeprefix('co2e.')}"
    return f"{name or f'{quantity}.allocated'}/{site.replace('%', '%25').replace('/', '%2F')}/"
