"""A site's grid over the report's period: emissions and cost per kWh of each cell, and the share that contracts cover. Pure.

Location-based grams are energy times the grid's intensity, cell by cell. Market-based grams are those of the contracts, plus
those of the supplier's rate, or else of the residual mix, for the rest. If no residual mix is published, the grid's average
replaces it, which the GHG Protocol's Scope 2 Guidance (2015, table 6.3) allows with disclosure. Certificates count once, in
their own period and market (reports/inputs/matching).

All values are for the energy at the site's boundary (measures/carbon): the energy that the building's meters measured from
the grid, or the nodes' energy times a stated PUE (`times`), or the energy of nodes or GPUs alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Final

from energy_agent.core.units import UJ_PER_KWH, split_integer
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary
from energy_agent.factors.join import CarbonTotal, IntensitySource, SourceUse, intensities, join
from energy_agent.factors.series import Piece
from energy_agent.ledger.rows.kinds import CELL_NS
from reports.inputs.market import MarketBoundary
from reports.inputs.matching import HOUR_NS, ContractCoverage, Lot, cover
from reports.inputs.organisation import NO_GRID, SiteInputs
from reports.inputs.supplier import SUPPLIER
from reports.inputs.tariffs import Cost, cost, demand_charges, invoiced_demand, price_at
from reports.ledger.sums import CellRates, SiteWindow

SUPPLIER_QUALITY: Final = 2
"""Quality class of a rate that a supplier discloses for a year."""
_FINEST: Final = 10**12
"""Common denominator of what a kWh is worth, at most: what is finer is rounded to it, half to even."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A site's grid.

    Args:
        location: grams of the energy from the grid, by source; None without a source.
        missing: the missing sources; "" if none is missing.
        coverage: the energy that contracts cover, as bought: each lot in its own period.
        hourly: the energy that deliveries of clean electricity with time stamps cover by hour; None without such deliveries, or
            if not requested.
        quarterly: the same by quarter of an hour.
        residual: grams by source; None without a source. It has the energy that no contract covers, first at rates of its
            supplier, and on-site generation whose certificates were sold.
        residual_is_average: whether the grid's average replaces the residual mix in `residual`, because none was given.
        rest: `residual`; if contracts cover all energy, all of its cells at the same sources.
        revision: grams by the draft revision of the guidance; None if not requested or without a residual mix.
        supply: grams of fuel supply, grid losses and biogenic CO2, as far as there are sources.
        spent: cost of the energy.
        worth: grams and money per kWh in each metered cell.
        uj: the energy from the grid behind all of these values.
    """

    location: CarbonTotal | None = None
    missing: str = NO_GRID
    coverage: ContractCoverage | None = None
    hourly: ContractCoverage | None = None
    quarterly: ContractCoverage | None = None
    residual: CarbonTotal | None = None
    residual_is_average: bool = False
    rest: CarbonTotal | None = None
    residual_lacking: str = ""
    revision: Fraction | None = None
    supply: Mapping[EmissionBoundary, CarbonTotal] = field(default_factory=dict)
    spent: Cost | None = None
    currency: str = ""
    worth: CellRates = field(default_factory=lambda: CellRates({}, 1, {}, 1))
    uj: int = 0

    @property
    def location_g(self) -> Fraction | None:
        """Grams, location-based; None where a part of the energy is of no source."""
        return None if self.location is None else self.location.grams

    @property
    def rest_per_uj(self) -> Fraction | None:
        """Grams of a uJ that no contract covers, at the mean; None: no source."""
        known_uj = 0 if self.rest is None else self.rest.uj - self.rest.uj_unknown
        return None if self.rest is None or not known_uj else self.rest.grams_known / known_uj

    @property
    def supplier_share(self) -> Fraction:
        """Share of supplier-specific rates in the grams of `rest`."""
        known_g = Fraction(0) if self.rest is None else self.rest.grams_known
        supplier_g = sum((use.grams or Fraction(0) for use in self._of_supplier(self.rest)), Fraction(0))
        return supplier_g / known_g if known_g else Fraction(0)

    @property
    def supplier_uj(self) -> int:
        """Energy that no contract covers and a supplier-specific rate does."""
        return sum(use.uj for use in self._of_supplier(self.residual))

    @staticmethod
    def _of_supplier(total: CarbonTotal | None) -> list[SourceUse]:
        return [] if total is None else [use for use in total.statements if use.id.startswith(SUPPLIER)]

    @property
    def market_g(self) -> Fraction | None:
        """Grams, market-based; None where a part of the energy is of no source."""
        if self.coverage is None or self.residual is None or self.residual.grams is None:
            return None
        return self.coverage.grams + self.residual.grams


def grid(
    inputs: SiteInputs | None,
    cells: Mapping[int, int],
    window: SiteWindow,
    metered: Iterable[int] = (),
    *,
    sold: Mapping[int, int] | None = None,
    matched: bool = True,
    flat: bool = False,
) -> Grid:
    """The grid of a site.

    Args:
        inputs: data from its files; None without files.
        cells: energy from the grid at the site's boundary, in uJ by cell, with what is imputed.
        window: the report's period there.
        metered: cells that need `worth`: those in which the ledger has energy of workloads.
        sold: on-site generation whose certificates were sold, by cell: no contract covers it.
        matched: also match contracts by the hour and the quarter of an hour.
        flat: the cells are invoices, spread evenly: peaks are those that the invoices state.
    """
    uj = sum(cells.values())
    if inputs is None:
        return Grid(uj=uj)
    grams = intensities(metered, inputs.location) if inputs.location else {}
    money, currency = _prices(inputs, metered)
    location = join(cells, inputs.location) if inputs.location else None
    # Cells that the window cuts are in the energy whole, as the ledger has them.
    within = (inputs.grid_zone, window.start_ns - window.start_ns % CELL_NS, window.end_ns)
    coverage = cover(cells, inputs.lots, *within)
    sources, is_average, missing = _residual_sources(inputs)
    residual = join(_plus(coverage.remaining, sold or {}), sources) if sources else None
    return Grid(
        location=location,
        missing=inputs.location_lacking,
        coverage=coverage,
        hourly=_matched(cells, timed(inputs.lots, HOUR_NS), within) if matched else None,
        quarterly=_matched(cells, timed(inputs.lots, CELL_NS), within) if matched else None,
        residual=residual,
        residual_is_average=is_average,
        rest=residual if residual is None or residual.uj else join(cells, sources),
        residual_lacking=missing,
        revision=_revision(inputs, cells, sold or {}, within),
        supply={kind: join(cells, sources) for kind, sources in inputs.supply.items()},
        spent=_cost_of(inputs, cells, window, flat=flat) if inputs.tariffs else None,
        currency=currency,
        worth=CellRates(*_whole(grams), *_whole(money)),
        uj=uj,
    )


def _matched(cells: Mapping[int, int], lots: list[Lot], within: tuple[str, int, int]) -> ContractCoverage | None:
    """Matching by time is that of the draft revision of the guidance, which requires generation in the same zone."""
    return cover(cells, lots, *within, MarketBoundary.REVISION) if lots else None


def _plus(cells: Mapping[int, int], others: Mapping[int, int]) -> dict[int, int]:
    return {t: cells.get(t, 0) + others.get(t, 0) for t in sorted({**cells, **others})}


def _revision(
    inputs: SiteInputs, cells: Mapping[int, int], sold: Mapping[int, int], within: tuple[str, int, int]
) -> Fraction | None:
    """Grams by the draft revision: deliveries by the hour in the same zone, and the residual mix for the rest.

    The draft allows no grid average for the rest.
    """
    if not inputs.with_revision or not inputs.residual:
        return None
    lots = [lot for lot in inputs.lots if lot.timed and lot.end_ns - lot.start_ns <= HOUR_NS]
    matched = cover(cells, lots, *within, MarketBoundary.REVISION)
    rest = join(_plus(matched.remaining, sold), inputs.residual).grams
    return None if rest is None else matched.grams + rest


def timed(lots: Iterable[Lot], step_ns: int) -> list[Lot]:
    """Clean electricity that was delivered with time stamps at most `step_ns` apart: what can be matched within that step.

    An evenly spread volume does not show the hour of generation: solar power would be matched at night.
    """
    return [lot for lot in lots if lot.timed and lot.end_ns - lot.start_ns <= step_ns and lot.technology.clean]


def _residual_sources(inputs: SiteInputs) -> tuple[list[IntensitySource], bool, str]:
    """Sources for energy that no contract covers: (best first, whether the last is the grid's average, what is lacking)."""
    mix = inputs.residual or inputs.location
    basis = mix[0].basis if mix else Basis(EmissionBoundary.DIRECT, Accounting.CONTRACT)
    rates = [rate for rate in inputs.supplier_rates if not rate.objection and rate.boundary is basis.boundary]
    missing = inputs.residual_lacking if inputs.residual or inputs.location else inputs.location_lacking
    pieces = [(rate.id, Piece(rate.start_ns, rate.end_ns, rate.g_per_kwh, estimated=False)) for rate in rates]
    suppliers = [IntensitySource(name, basis, SUPPLIER_QUALITY, (piece,)) for name, piece in pieces]
    return [*suppliers, *mix], bool(mix) and not inputs.residual, missing


def _cost_of(inputs: SiteInputs, cells: Mapping[int, int], window: SiteWindow, *, flat: bool) -> Cost:
    """Return the cost of energy and of peak demand."""
    charges = (
        invoiced_demand(inputs.invoices, inputs.tariffs, inputs.zone, window.span)
        if flat
        else demand_charges(cells, inputs.tariffs, inputs.zone, window.span)
    )
    return replace(cost(cells, inputs.tariffs, inputs.zone), demand=charges)


def times(cells: Mapping[int, int], factor: Fraction) -> dict[int, int]:
    """Cells times a number that is not negative, in whole uJ: the exact sum rounded down, split by largest remainder.

    Less than a uJ of the sum is left out; grams and money of a site are of the exact sum, at the mean of its cells.
    """
    if not cells:
        return {}
    whole = sum(cells.values()) * factor.numerator // factor.denominator
    return dict(zip(cells, split_integer(whole, list(cells.values())), strict=True))


def _prices(inputs: SiteInputs, cells: Iterable[int]) -> tuple[dict[int, Fraction], str]:
    """The price of a kWh in each cell, in the currency of the tariffs; none where they are of several."""
    currencies = {t.currency for t in inputs.tariffs}
    if len(currencies) != 1:
        return {}, ""
    exact: dict[Decimal, Fraction] = {}
    prices = {}
    for start_ns in cells:
        priced = price_at(inputs.tariffs, start_ns, inputs.zone)
        if priced is not None:
            per_kwh = priced[1]
            if per_kwh not in exact:
                exact[per_kwh] = Fraction(per_kwh)
            prices[start_ns] = exact[per_kwh]
    return prices, currencies.pop()


def _whole(values: Mapping[int, Fraction]) -> tuple[dict[int, int], int]:
    """Values over their common denominator."""
    over = 1
    for denominator in {value.denominator for value in values.values()}:
        over = lcm(over, denominator)
        if over > _FINEST:
            return {key: round(value * _FINEST) for key, value in values.items()}, _FINEST
    return {key: value.numerator * (over // value.denominator) for key, value in values.items()}, over


def kwh(uj: int) -> Fraction:
    """Energy in kWh, exactly."""
    return Fraction(uj, UJ_PER_KWH)
