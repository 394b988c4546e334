"""Energy, PUE, water and renewables of a site's building over the report's period, from meters and files. Pure.

If meters measure the total, the facility's energy is measured. If the operator states a PUE instead, the facility's energy is
an estimate: energy of the nodes times that PUE. Without either it has no value, and the report ends at the nodes or GPUs.

Meters should have existed for as long as nodes used energy. Meters that are added or removed within a period have no data for
the rest of it. A short rest counts as unread time: it is imputed at their mean power and bounded by their maximum power. With a
longer rest the building has no energy value. A site that opened in the period together with its nodes is complete.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from energy_agent.core.meters.facility import MeterEnergy, Position, Role
from energy_agent.core.quantity import Quantity, Unit, no_quantity
from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.site.building.gaps import MEAN, MeterFill, bridge_gaps, fill_gaps, grid_cells, signed_cells, with_fills
from energy_agent.site.building.pue import (  # fmt: skip
    COVERED,
    YEAR_NS,
    EnergyFlow,
    Pue,
    best,
    by_position,
    it_terms,
    losses,
    made_terms,
    parts,
    per_it_kwh,
    shares,
    stated_pue,
    total_terms,
)
from energy_agent.site.building.ratio import Terms, energy
from energy_agent.site.building.spans import Span, merged, overlap_ns
from reports.inputs.invoices import ElectricityInvoice, whole_intervals
from reports.inputs.organisation import SiteInputs
from reports.inputs.water import water_in
from reports.ledger.sums import SiteWindow

Meters = Mapping[str, MeterEnergy]
NO_METERS: Final = "the ledger has no meter of the building, and no PUE is stated"
NO_ENERGY: Final = no_quantity(NO_METERS)
NO_WATER: Final = no_quantity("no input has the site's water")
ESTIMATE: Final = "estimate"
"""Kind of a ratio of invoiced energy to that of the nodes."""
STATED_ALONE: Final = "the ledger has no meter of the building"


def undeclared(meters: Meters, terms: Iterable[str], used: Span | None) -> str:
    """Why a sum of meters is not that of the time in which nodes used energy; "": it is, or nearly."""
    meter_lives = [meters[m].lives for m in terms]
    if used is None or not meter_lives or not all(meter_lives):
        return ""
    share = Fraction(overlap_ns(merged(life for lives in meter_lives for life in lives), used), used[1] - used[0])
    return "" if share >= COVERED else f"its meters covered {float(share):.1%} of the time in which nodes used energy"


def with_undeclared(meters: Meters, used: Span | None) -> dict[str, MeterEnergy]:
    """Return the meters, with time marked as unread if nodes used energy and no meter of the same quantity existed.

    Only the first and last meters of a quantity lose that time: a meter that was added next to an existing one is new, not
    late.
    """
    late = {name: undeclared_spans(meters, meter, used) for name, meter in meters.items()}
    return {m: replace(e, window_ns=e.window_ns + sum(end - start for start, end in late[m])) for m, e in meters.items()}


def undeclared_spans(meters: Meters, meter: MeterEnergy, used: Span | None) -> list[Span]:
    """Return when nodes used energy and a meter should have been read, though it was not declared."""
    alike_spans = merged(life for each in meters.values() if _alike(each, meter) for life in each.lives)
    if used is None or not meter.lives or not alike_spans:
        return []
    first, last = alike_spans[0][0], alike_spans[-1][1]
    spans = [(used[0], first)] if meter.lives[0][0] == first else []
    if meter.lives[-1][1] == last:
        starts = [max(first, used[0]), *(end for _, end in alike_spans)]
        ends = [*(start for start, _ in alike_spans), used[1]]
        spans += [(max(start, used[0]), min(end, used[1])) for start, end in zip(starts, ends, strict=True)]
    return [(start, end) for start, end in spans if end > start]


def _alike(one: MeterEnergy, other: MeterEnergy) -> bool:
    """Both measure the same: the total, or IT at one position. Others came with the meters of the total, or later."""
    if other.facts.role is Role.IT:
        return (one.facts.role, one.facts.position) == (Role.IT, other.facts.position)
    return one.facts.role is Role.TOTAL


@dataclass(frozen=True, slots=True)
class BuildingEnergy:
    """Energy, PUE and meters of one site's building.

    Args:
        pue: PUE of the highest category that has one; a stated PUE if none is measured; None if neither exists.
        pues: PUE at every position at which IT is metered.
        trailing: PUE over the twelve months that end with the period.
        total: measured energy of the building in uJ, with imputed energy; absent with its reason.
        it: IT energy at the position of `pue`, in the same form.
        terms: the meters of `total`, `it` and `bought`, by these names.
        fills: energy of time in which a meter was not read.
        invoiced: its energy is that of invoices, for want of meters in the ledger.
        bought_cells: energy from the grid by cell, uJ: imputed energy in the cells in which it was used. They sum to `bought`.
        bought: total energy from the grid, with imputed energy.
        bought_in: the same by period of an invoice (UTC ns), each with the errors of its own time.
        made_uj: energy that the site generated itself.
        made_cells: the same by cell.
        parts: energy by use.
        losses: losses between two positions.
        shares: REF of on-site generation, and ERF.
        wue: liters per kWh of IT.
        water_category: category of the WUE; 0 without a WUE.
        liters: liters that entered the site.
        meters: what each meter counted.
    """

    site: str
    pue: Pue | None
    pues: tuple[Pue, ...] = ()
    trailing: Pue | None = None
    total: Quantity = NO_ENERGY
    it: Quantity = NO_ENERGY
    bought_cells: Mapping[int, int] = field(default_factory=dict)
    bought: Quantity = NO_ENERGY
    bought_in: Mapping[Span, Quantity] = field(default_factory=dict)
    made_uj: int = 0
    made_cells: Mapping[int, int] = field(default_factory=dict)
    parts: tuple[EnergyFlow, ...] = ()
    losses: tuple[EnergyFlow, ...] = ()
    shares: Mapping[str, Quantity] = field(default_factory=dict)
    wue: Quantity = NO_ENERGY
    water_category: int = 0
    liters: Quantity = NO_WATER
    meters: Mapping[str, MeterEnergy] = field(default_factory=dict)
    terms: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict.fromkeys(("total", "it", "bought"), ()))
    fills: Mapping[str, MeterFill] = field(default_factory=dict)
    invoiced: bool = False

    @property
    def measured(self) -> bool:
        """Its energy was metered, by its own meters or those of the supplier who invoiced it."""
        return self.total.value is not None

    def imputed(self, meters: Iterable[str]) -> dict[str, int]:
        """Energy in uJ of time in which some meters were not read, by what it follows from (`gaps`)."""
        by: dict[str, int] = {}
        for name in meters:
            cells = self.fills[name].cells.values() if name in self.fills else ()
            for basis, uj in [(cell.basis, cell.uj) for cell in cells] or [(MEAN, self.meters[name].imputed_uj)]:
                by[basis] = by.get(basis, 0) + uj
        return {basis: uj for basis, uj in sorted(by.items()) if uj}


def building(
    site: str,
    window: SiteWindow,
    book: FacilityBook | None,
    inputs: SiteInputs | None,
    node_uj: int,
    *,
    used: tuple[int, int] | None = None,
    twelve_months: bool = True,
) -> BuildingEnergy:
    """Return the known data of a site's building.

    Args:
        site: name of the site.
        window: the report's period there.
        book: counts of its meters; None if it has no meters.
        inputs: data from its files; None without files.
        node_uj: energy of its nodes, by which a stated PUE is multiplied.
        used: the time over which its nodes used energy, UTC ns; None if it is unknown or empty.
        twelve_months: the book covers twelve months, and the PUE over them is required.
    """
    if book is None:
        none = no_quantity(NO_METERS if inputs is None or inputs.stated is None else STATED_ALONE)
        _, category, liters = _water(inputs, window, {}, None)
        return BuildingEnergy(
            site,
            _declared_pue(inputs, node_uj),
            total=none,
            it=none,
            bought=none,
            wue=no_quantity("IT energy was not metered"),
            water_category=category,
            liters=liters,
        )
    start_ns, end_ns = window.start_ns - window.start_ns % CELL_NS, window.end_ns + -window.end_ns % CELL_NS
    read = book.window(start_ns, end_ns, since_ns=window.start_ns, until_ns=window.end_ns)
    facts = {m: e.facts for m, e in read.items()}
    whole = total_terms(facts)
    bought, generation = made_terms(facts)
    cells = {m: book.cells_of(m, start_ns, end_ns) for m in facts}

    def filled(meters: Mapping[str, MeterEnergy], spans: Mapping[str, Sequence[Span]]) -> dict[str, MeterFill]:
        fills = fill_gaps(meters, spans, cells.__getitem__, spans)
        intervals = {} if inputs is None else whole_intervals(inputs.readings)
        return bridge_gaps(fills, meters, bought, cells.__getitem__, intervals, (start_ns, end_ns))

    lives = {m: read[m].lives for m in {**whole, **generation}}
    declared = filled(read, lives)
    meters = with_fills(read, declared, (start_ns, end_ns))
    pues = by_position(meters)
    main = best(pues)
    if main is None or main.amount.value is None:
        main = _declared_pue(inputs, main.it_uj if main is not None and main.it_uj else node_uj) or main
    at = None if main is None else Position.of(main.category)
    position = at or (Position.of(pues[-1].category) if pues else None)  # IT may be metered even if the PUE is unknown
    it = it_terms(facts, position) if position is not None else {}
    no_total = "no meter of role total" if not whole else undeclared(meters, whole, used)
    no_it = "no meter of role it" if position is None else undeclared(meters, it, used)
    wue, category, liters = _water(inputs, window, meters, at)
    late = {m: undeclared_spans(read, read[m], used) for m in lives}
    fills = filled(with_undeclared(read, used), {m: [*lives[m], *late[m]] for m in lives}) if any(late.values()) else declared
    all_time = with_fills(with_undeclared(read, used), fills, (start_ns, end_ns))
    total = no_quantity(no_total) if no_total else energy(all_time, whole)
    grid = no_quantity(no_total) if no_total else energy(all_time, bought)
    return BuildingEnergy(
        site=site,
        pue=main,
        pues=pues,
        trailing=_trailing(book, window) if twelve_months else None,
        total=total,
        it=no_quantity(no_it) if no_it else energy(all_time, it),
        bought_cells={} if grid.value is None else grid_cells(bought, cells.__getitem__, fills, int(grid.value)),
        bought=grid,
        bought_in={} if no_total or inputs is None else _by_invoice(book, bought, fills, inputs.invoices, (start_ns, end_ns)),
        made_uj=0 if no_total else sum(all_time[m].measured_uj + all_time[m].imputed_uj for m in generation),
        made_cells={} if no_total else signed_cells(generation, cells.__getitem__, fills),
        parts=tuple(parts(all_time, position)) if position is not None and not no_total else (),
        losses=() if no_it else tuple(losses(all_time)),
        shares=shares(meters),
        wue=wue,
        water_category=category,
        liters=liters,
        meters=all_time,
        terms={
            "total": () if no_total else tuple(whole),
            "it": () if no_it else tuple(it),
            "bought": () if no_total else tuple(bought),
        },
        fills=fills,
    )


def _declared_pue(inputs: SiteInputs | None, it_uj: int) -> Pue | None:
    if inputs is None or inputs.stated is None:
        return None
    return stated_pue(it_uj, *inputs.stated)


def _by_invoice(
    book: FacilityBook, terms: Terms, fills: Mapping[str, MeterFill], invoices: Iterable[ElectricityInvoice], window: Span
) -> dict[Span, Quantity]:
    """Energy from the grid in the periods of invoices, each with the gaps and errors of its own time."""
    amounts = {}
    for span in {i.span for i in invoices if window[0] <= i.start_ns and i.end_ns <= window[1]}:
        if not any(t % CELL_NS for t in span):
            energies = with_fills(book.window(*span, only=terms), fills, span)
            if energies.keys() == terms.keys():
                amounts[span] = energy(energies, terms)
    return amounts


def _trailing(book: FacilityBook, window: SiteWindow) -> Pue | None:
    """Over twelve months; None: no meters were read then."""
    end_ns = window.end_ns - window.end_ns % CELL_NS
    if book.span_ns is None:
        return None
    return best(by_position(book.window(end_ns - YEAR_NS, end_ns)))


def _water(
    inputs: SiteInputs | None, window: SiteWindow, meters: Mapping[str, MeterEnergy], at: Position | None
) -> tuple[Quantity, int, Quantity]:
    """(WUE, its category, liters)."""
    if inputs is None or not inputs.water:
        return NO_WATER, 0, NO_WATER
    used = water_in(inputs.water, inputs.zone, window.span)
    if used.known_ratio < 1 or len(used.categories) != 1:
        absent = no_quantity("water is not known for the whole period, or has several categories")
        return absent, 0, absent
    (category,), liters, bound = used.categories, used.liters, used.bound
    amount = Quantity(liters, max(Fraction(0), liters - bound), liters + bound, unit=Unit.L)
    if at is None:
        return no_quantity("IT energy was not metered at a PUE category"), category, amount
    return per_it_kwh(liters, bound / liters if liters else Fraction(0), meters, at), category, amount
