"""Statements of an organisation for a report: its responsible persons, earlier figures, and every typed value. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

ELECTRICITY: Final = "electricity"
"""The total of the energy at the boundary of a report."""


@dataclass(frozen=True, slots=True)
class ReportStatement:
    """Who is responsible for a report, and its organisational boundary; each is "" if not given.

    Args:
        issued: date of issue, ISO 8601.
        consolidation: approach by which sites are in the boundary: operational control or financial control.
        base_year: None without one.
    """

    prepared_by: str = ""
    approved_by: str = ""
    issued: str = ""
    consolidation: str = ""
    base_year: int | None = None


@dataclass(frozen=True, slots=True)
class ReportedPeriod:
    """Totals of an earlier period as an earlier report stated them.

    Args:
        period: its label, such as 2025Q3, 2025-07, 2025, FY2025 or FY2025Q3.
        totals: (figure, or ELECTRICITY, its value in the figure's unit, half of the last digit of the value in that unit).
        source: the report in which they are.
        reason: why the totals of today's ledger and inputs differ from them; "" if not given.
    """

    period: str
    totals: tuple[tuple[str, Decimal, Decimal], ...]
    source: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StatedInput:
    """A record that somebody typed into the inputs: a meter, a contract, a tariff, a PUE, a water bill, a price.

    Args:
        site: "": of the organisation.
        kind: meter | contract | supplier_rate | tariff | pue | water | price | embodied.
        name: of the record; "" if it has none.
        values: key of the inputs -> value as it was given.
        defaults: keys whose value nobody gave, so that it is a default.
    """

    site: str
    kind: str
    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    defaults: tuple[str, ...] = ()
