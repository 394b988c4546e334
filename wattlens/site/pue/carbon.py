"""Values in addition to the PUE that need the site's file: WUE, CUE, REF with contracts, and energy cost."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.meters.facility import Position
from energy_agent.core.quantity import Quantity, exactly, no_quantity
from energy_agent.core.units import NS_PER_S
from energy_agent.factors import by_year
from energy_agent.factors.join import CarbonTotal, IntensitySource, join, of_series
from energy_agent.factors.sets import catalogue
from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.runtime.clock import RealClock
from energy_agent.site.building.gaps import MeterFill, grid_cells
from energy_agent.site.building.pue import made_terms, per_it_kwh, total_terms
from energy_agent.site.building.ratio import Terms, energy, ratio
from energy_agent.site.config.grid import GridBase, grid_specs
from energy_agent.site.grid.store import GridStore
from reports.inputs import matching, tariffs
from reports.inputs.water import water_in
from wattlens.site.file import SiteFile
from wattlens.site.pue.statement import PueStatement

GRID_FOLDER = "grid"


def with_others(
    statement: PueStatement,
    config: SiteFile,
    book: FacilityBook,
    fills: Mapping[str, MeterFill],
    state: Path | None,
    now_ns: int,
    *,
    accept_old: bool = False,
) -> PueStatement:
    """Return the statement with all values that need the site's file; an unknown value is absent with its reason.

    Args:
        statement: the PUE.
        config: the site's file.
        book: readings of its meters.
        fills: what is imputed for gaps of its meters.
        state: folder with its stored grid intensities; None: none.
        now_ns: time as of which these count.
        accept_old: also use yearly factors that are more than five years older than the energy.
    """
    if statement.zone:
        return statement
    at = Position.of(statement.main.category)
    facts = {m: e.facts for m, e in statement.meters.items()}
    bought, generation = made_terms(facts)
    first_ns = statement.start_ns - statement.start_ns % CELL_NS
    total_uj = energy(statement.meters, bought).value if bought else None
    cells = grid_cells(bought, lambda m: book.cells_of(m, first_ns, statement.end_ns), fills, int(total_uj or 0))
    zone = ZoneInfo(config.site.time_zone)
    others, notes = dict(statement.others), dict(statement.notes)
    if at is None:
        others["WUE"] = others["CUE"] = no_quantity("IT energy was not metered by a PUE's category")
    else:
        others["WUE"], notes["WUE"] = _wue(statement, at, config, zone)
        others["CUE"], notes["CUE"] = _cue(
            statement, at, config.the_grid, cells, generation, state, now_ns, zone, accept_old=accept_old
        )
    if config.contracts:
        others["REF with contracts"], notes["REF with contracts"] = _ref(statement, config, cells, generation, now_ns, zone)
    if config.tariffs:
        notes["cost"] = _cost(statement, config, cells, bought, zone)
    return replace(statement, others=others, notes={name: note for name, note in notes.items() if note})


def _wue(statement: PueStatement, at: Position, config: SiteFile, zone: ZoneInfo) -> tuple[Quantity, str]:
    if not config.water:
        return no_quantity("the site's file has no water"), ""
    used = water_in(config.water, zone, (statement.start_ns, statement.end_ns))
    if used.known_ratio < 1:
        return no_quantity(f"water is known for {float(used.known_ratio):.1%} of the window"), ""
    if len(used.categories) > 1:
        return no_quantity("water of several categories in one window"), ""
    (category,), liters = used.categories, used.liters
    relative = used.bound / liters if liters else Fraction(0)
    return per_it_kwh(liters, relative, statement.meters, at), f"category {category}, liters: {float(liters):,.0f}"


def _cue(
    statement: PueStatement,
    at: Position,
    grid: GridBase,
    cells: Mapping[int, int],
    terms: Terms,
    state: Path | None,
    now_ns: int,
    zone: ZoneInfo,
    *,
    accept_old: bool,
) -> tuple[Quantity, str]:
    """Return CUE from grid energy, cell by cell. On-site generation has no direct emissions; its life cycle is unknown."""
    if grid.zone is None and grid.country is None:
        return no_quantity("the site's file names neither grid.zone nor grid.country"), ""
    if not cells:
        return no_quantity("no meter of role total was read"), ""
    try:
        sources, missing = _sources(grid, cells, state, now_ns, zone, accept_old=accept_old)
        joined = join(cells, sources)
    except (UsageError, WattlensError) as error:
        return no_quantity(str(error)), ""
    if joined.grams is None:
        hours = sum(s.hours for s in joined.statements if s.grams is None)
        return no_quantity(f"no intensity is known for {float(hours):.1f} h of the window{missing}"), ""
    own_kwh = sum(statement.meters[m].measured_uj + statement.meters[m].imputed_uj for m in terms) / 3.6e12
    generation_note = f"; {own_kwh:,.1f} kWh generated on site counted at 0 g" if own_kwh else ""
    bounds = "; no bounds: the error of its factors is not stated"
    return per_it_kwh(joined.grams, None, statement.meters, at), _describe_sources(joined) + missing + generation_note + bounds


def _sources(
    grid: GridBase, cells: Mapping[int, int], state: Path | None, now_ns: int, zone: ZoneInfo, *, accept_old: bool
) -> tuple[list[IntensitySource], str]:
    """The series that the site has kept, in the order of its file, then the yearly factors."""
    hourly = []
    store = GridStore(state / GRID_FOLDER) if state is not None and (state / GRID_FOLDER).is_dir() else None
    for source in grid.all_sources if store is not None else ():
        assert store is not None
        about = grid_specs()[source.kind].open(source.config, RealClock()).about  # opening asks nobody yet
        series = of_series(store.read(about).series, now_ns)
        if series.pieces:
            hourly.append(series)
    start_ns, end_ns = min(cells), max(cells) + CELL_NS
    yearly, _, missing = by_year.sources(
        catalogue(grid.factors, accept_old=accept_old),
        grid.zone or "",
        grid.country or "",
        grid.basis,
        start_ns,
        end_ns,
        zone,
    )
    if grid.all_sources and store is None:
        missing = "; ".join([*([missing] if missing else []), "the hourly series of the site are not next to this ledger"])
    return [*hourly, *yearly], f"; {missing}" if missing else ""


def _describe_sources(joined: CarbonTotal) -> str:
    """Describe the sources of an intensity, each with its share of the energy."""
    shares = (
        f"{s.id} {float(Fraction(s.uj, joined.uj)):.0%}" + (f" ({'; '.join(s.reasons)})" if s.reasons else "")
        for s in joined.statements
        if s.uj
    )
    return f"{joined.basis}; " + ", ".join(shares)


def _ref(
    statement: PueStatement, config: SiteFile, cells: Mapping[int, int], terms: Terms, now_ns: int, zone: ZoneInfo
) -> tuple[Quantity, str]:
    """What was made here and used, and what contracts cover of the rest, over the total; contracts never cover the first."""
    try:
        today, boundary = datetime.fromtimestamp(now_ns // NS_PER_S, zone).date(), config.the_grid.basis.boundary
        lots = [lot for contract in config.contracts for lot in contract.lots(zone, today, boundary)]
    except UsageError as error:
        return no_quantity(str(error)), ""
    whole = total_terms({m: e.facts for m, e in statement.meters.items()})
    total = energy(statement.meters, whole) if whole else no_quantity("no meter of role total")
    if total.value is None or not cells:
        return no_quantity(total.reason or "no meter of role total was read"), ""
    coverage = matching.cover(cells, lots, config.the_grid.zone or "", min(cells), max(cells) + CELL_NS)
    here = ratio(statement.meters, terms, whole) if terms else exactly(0)

    def share(of: Fraction | None, base_share: Fraction | None) -> Fraction | None:
        return (
            None if of is None or base_share is None or of <= 0 else min(Fraction(1), base_share + coverage.renewable_uj / of)
        )

    unused = [f"{c.contract}: {uj / 3.6e12:,.1f} kWh {why}" for c in coverage.claims for why, uj in c.unused.items() if uj]
    own_kwh = sum(statement.meters[m].measured_uj + statement.meters[m].imputed_uj for m in terms) / 3.6e12
    matched = f"{coverage.renewable_uj / 3.6e12:,.1f} kWh by contract, {own_kwh:,.1f} kWh generated on site"
    amount = Quantity(share(total.value, here.value), share(total.high, here.low), share(total.low, here.high), here.reason)
    return amount, "; ".join([matched, *unused])


def _cost(statement: PueStatement, config: SiteFile, cells: Mapping[int, int], bought: Terms, zone: ZoneInfo) -> str:
    """What the energy from the grid cost, each cell at its price; its bounds are those of the meters."""
    costs = tariffs.cost(cells, tariffs.ended(config.tariffs), zone)
    amount = energy(statement.meters, bought) if bought else Quantity(None)
    priced_uj = sum(cells.values())
    sums = []
    for currency, money in sorted(costs.by_currency.items()):
        bounds = ""
        if amount.low is not None and amount.high is not None and priced_uj:
            low, high = (float(money * bound / priced_uj) for bound in (amount.low, amount.high))
            bounds = f" ({low:,.2f} to {high:,.2f})"
        sums.append(f"{float(money):,.2f} {currency}{bounds}")
    if not sums:
        return "absent: no energy from the grid was metered"
    unpriced_kwh = Fraction(costs.unpriced_uj, 3_600_000_000_000)
    notes = [f"{float(unpriced_kwh):,.1f} kWh have no tariff"] if unpriced_kwh else []
    return "; ".join([", ".join(sums), *notes])
