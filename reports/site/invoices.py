"""Comparison of a site's invoices with readings of its supply meters and with the ledger, by periods of the invoices. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity, Unit, about, no_quantity
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.site.building.pue import Pue
from energy_agent.site.building.spans import Span, overlap_ns
from reports.inputs.days import share_error, share_within
from reports.inputs.invoices import (
    ElectricityInvoice,
    EnergyInWindow,
    invoiced_in,
    metering_points,
    read_in,
    spread,
    with_readings,
)
from reports.inputs.organisation import SiteInputs
from reports.ledger.sums import SiteWindow
from reports.site.building import ESTIMATE, BuildingEnergy

INVOICED: Final = "energy of the supplier's invoices"
INVOICED_OR_READ: Final = (
    "energy of the supplier's invoices, and of meter readings where one is missing, estimated or cut by the period"
)
BY_SUPPLIER: Final = "energy that the supplier estimated"
NO_INVOICE: Final = "no input has invoices of the site"
NO_READING: Final = "no input has readings of the site's supply meters"
NO_ENERGY: Final = "neither a ledger nor an invoice has energy of the period of"
CUT_MOST: Final = Fraction(1, 5)
CUT_ENERGY: Final = "more than 20 % of the energy is uncertain, because the period cuts invoice"
SEVERAL_CURRENCIES: Final = "invoices use several currencies"
CUT_AMOUNTS: Final = "the period cuts invoices, so that their amounts are uncertain by more than 20 %"


@dataclass(frozen=True, slots=True)
class InvoicePeriod:
    """One period of the supplier within the report's: energy in uJ three ways, absent with its reason.

    Args:
        numbers: numbers of its invoices.
        ledger: energy from the grid by the ledger, at the widest known boundary of the site; with bounds of its own time where
            meters of the building measured it.
    """

    start_ns: int
    end_ns: int
    numbers: tuple[str, ...]
    invoiced: Quantity
    read: Quantity
    ledger: Quantity


@dataclass(frozen=True, slots=True)
class InvoicedCost:
    """Cost of a site's electricity by the amounts of its invoices.

    Args:
        money: over the period; absent with its reason.
        currency: ISO 4217; "" if the invoices use several.
        with_tax: the amounts include taxes on sales.
        cut: (number, share by time) of invoices that reach beyond the period.
    """

    money: Quantity
    currency: str
    with_tax: bool = False
    cut: tuple[tuple[str, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class SiteInvoices:
    """Invoices and readings of a site over the report's period.

    Args:
        invoiced: invoiced energy of the period; None without invoices in it.
        counted: the same with readings where an invoice is missing or estimated.
        method: where `counted` is from.
        read: energy by readings of the supply meters; None without readings in it.
        periods: the periods of the invoices that lie in the report's period as a whole.
        cut: numbers of invoices that reach beyond it.
        peaks: peak demand that is invoiced, by invoice: (number, kW).
        money: invoiced money by currency, of the invoices that lie in the period as a whole.
        cost: cost by the amounts; None if no invoice with a part in the period states one.
    """

    invoiced: EnergyInWindow | None = None
    counted: EnergyInWindow | None = None
    method: str = INVOICED
    read: EnergyInWindow | None = None
    periods: tuple[InvoicePeriod, ...] = ()
    cut: tuple[str, ...] = ()
    peaks: tuple[tuple[str, Fraction], ...] = ()
    money: Mapping[str, Fraction] | None = None
    cost: InvoicedCost | None = None


def from_invoices(
    building: BuildingEnergy, inputs: SiteInputs | None, window: SiteWindow, node_uj: int, *, recorded: bool
) -> BuildingEnergy:
    """Return the building with the energy of its invoices, if no meter in the ledger has it and they cover the whole period.

    A period that cuts an invoice so that its energy is uncertain by more than `CUT_MOST` has no energy of invoices. Without
    another source the total then has the reason.

    Its ratio to the energy of the nodes takes the place of a PUE, which it is not: the invoices contain other IT too.

    Args:
        building: as the ledger and a stated PUE give it.
        inputs: data from the site's files; None without files.
        window: the report's period there.
        node_uj: energy of its nodes; 0 if it is not known as a whole.
        recorded: the ledger has energy of the site.
    """
    if building.measured or inputs is None:
        return building
    rows = _select_rows(inputs, window)
    invoiced = invoiced_in(rows, window.span)
    if reason := _objection(building.site, rows, invoiced, window, node_uj):
        return replace(building, total=no_quantity(reason)) if invoiced.rows or not recorded else building
    total = energy_of(invoiced)
    pue = building.pue
    if node_uj:
        low, high = max(Fraction(1), (invoiced.uj - invoiced.bound) / node_uj), (invoiced.uj + invoiced.bound) / node_uj
        pue = Pue(
            ESTIMATE, 0, Quantity(invoiced.uj / node_uj, low, high, unit=Unit.RATIO), int(invoiced.uj), node_uj, stated=True
        )
    cells = spread(rows, window.span, CELL_NS)
    return replace(building, pue=pue, total=total, bought=total, bought_cells=cells, invoiced=True)


def _select_rows(inputs: SiteInputs, window: SiteWindow) -> tuple[ElectricityInvoice, ...]:
    """Return the rows that give a site's energy of a period: readings alone if only they do, such as where it cuts invoices."""
    alone, meters = with_readings((), inputs.readings), {i.meter for i in inputs.invoices}
    points = set(metering_points(alone).values())
    if not (meters <= {r.meter for r in alone} or len(meters) == len(points) == 1):
        return inputs.supplied
    by_invoices, by_readings = (
        _objection("", rows, invoiced_in(rows, window.span), window, 0) for rows in (inputs.supplied, alone)
    )
    return alone if by_invoices and not by_readings else inputs.supplied


def _is_within(row: ElectricityInvoice, window: SiteWindow) -> bool:
    """Whether a part of its time is in a window."""
    return bool(overlap_ns([row.span], window.span))


def _objection(
    site: str, rows: Sequence[ElectricityInvoice], invoiced: EnergyInWindow, window: SiteWindow, node_uj: int
) -> str:
    """Why invoices do not give the energy of a period; "": they do."""
    if not invoiced.rows:
        return f"{NO_ENERGY} {site}"
    if not invoiced.whole:
        return _gaps(invoiced)
    if invoiced.uj < node_uj:
        return "the invoices have less energy than the nodes of the site"
    if invoiced.bound <= invoiced.uj * CUT_MOST:
        return ""
    within = [i for i in rows if _is_within(i, window)]
    cut = [i.number for i in within if i.start_ns < window.start_ns or i.end_ns > window.end_ns]
    return f"{CUT_ENERGY} {', '.join(cut)}" if cut else "the invoices' accuracy leaves more than 20 % of their energy uncertain"


def site_invoices(
    inputs: SiteInputs | None,
    window: SiteWindow,
    cells: Mapping[int, int],
    ledger_reason: str,
    by_meters: Mapping[Span, Quantity],
) -> SiteInvoices:
    """Return the invoices and readings of a site.

    Args:
        inputs: data from its files; None without files.
        window: the report's period there.
        cells: energy from the grid by the ledger, in uJ by cell.
        ledger_reason: why the ledger has no energy of its own to compare; "" if it has.
        by_meters: energy from the grid of meters of the building, with the bounds of the time, by period of an invoice.
    """
    if inputs is None or not (inputs.invoices or inputs.readings):
        return SiteInvoices()
    period_invoices, credit_notes = ([i for i in rows if _is_within(i, window)] for rows in (inputs.invoices, inputs.credits))
    inside, credited = (
        [i for i in rows if window.start_ns <= i.start_ns and i.end_ns <= window.end_ns]
        for rows in (period_invoices, credit_notes)
    )
    rows = _select_rows(inputs, window)
    counted = invoiced_in(rows, window.span)
    read = read_in(inputs.readings, window.span)
    money: dict[str, Fraction] = {}
    for each in (*inside, *credited):
        if each.amount is not None:
            money[each.currency] = money.get(each.currency, Fraction(0)) + Fraction(each.amount)
    return SiteInvoices(
        invoiced_in(inputs.invoices, window.span) if period_invoices else None,
        counted if counted.rows else None,
        INVOICED_OR_READ if {i for i in rows if _is_within(i, window)} - set(inputs.invoices) else INVOICED,
        read if read.rows else None,
        tuple(_periods(period_invoices, inside, inputs.readings, window, cells, ledger_reason, by_meters)),
        tuple(i.number for i in period_invoices if i not in inside),
        tuple((i.number, Fraction(i.peak_kw)) for i in inside if i.peak_kw is not None),
        money,
        _cost(period_invoices, credit_notes, window),
    )


def _cost(
    invoices: Sequence[ElectricityInvoice], credit_notes: Sequence[ElectricityInvoice], window: SiteWindow
) -> InvoicedCost | None:
    """The cost by invoices that have a part in the period, with their credits."""
    stated = [i for i in (*invoices, *credit_notes) if i.amount is not None]
    if not stated:
        return None
    currencies, with_tax = sorted({i.currency for i in stated}), stated[0].tax == "included"
    if len(currencies) > 1:
        return InvoicedCost(no_quantity(SEVERAL_CURRENCIES), "", with_tax)
    covered_energy = invoiced_in(invoices, window.span)
    reason = ""
    if missing := [i.number for i in invoices if i.amount is None]:
        reason = f"no amount of invoice {', '.join(missing)}"
    elif not covered_energy.whole:
        reason = _gaps(covered_energy)
    if reason:
        return InvoicedCost(no_quantity(reason), currencies[0], with_tax)
    parts = [(i.number, Fraction(i.amount or 0), share_within(i.span, window.span)) for i in stated]
    value = sum((amount * share for _, amount, share in parts), Fraction(0))
    bound = sum((abs(amount) * share_error(share) for _, amount, share in parts), Fraction(0))
    if bound > abs(value) * CUT_MOST:
        return InvoicedCost(no_quantity(CUT_AMOUNTS), currencies[0], with_tax)
    return InvoicedCost(
        about(value, bound), currencies[0], with_tax, tuple((number, share) for number, _, share in parts if share < 1)
    )


def _periods(
    invoices: Sequence[ElectricityInvoice],
    inside: Sequence[ElectricityInvoice],
    readings: Sequence[ElectricityInvoice],
    window: SiteWindow,
    cells: Mapping[int, int],
    ledger_reason: str,
    by_meters: Mapping[Span, Quantity],
) -> list[InvoicePeriod]:
    """Compare each period of the invoices that lies in the report's; metering points with the same period are one row.

    If readings are of other days than the invoices, a further row compares both over the time that the readings cover.
    Readings of meters that no invoice names are those of all invoices of the site.
    """
    meters = {i.meter for i in invoices}
    unrelated = not any(r.meter in meters for r in readings)

    def compare(span: Span, span_invoices: Sequence[ElectricityInvoice]) -> InvoicePeriod:
        named = {i.meter for i in span_invoices}
        every = named <= {""} or (unrelated and named == meters)
        read = read_in([r for r in readings if every or r.meter in named], span)
        by_cell = Quantity(Fraction(sum(uj for t, uj in cells.items() if span[0] <= t < span[1])), unit=Unit.UJ)
        return InvoicePeriod(
            *span,
            tuple(i.number for i in span_invoices),
            energy_of(invoiced_in(span_invoices, span)),
            known_energy(read, NO_READING),
            no_quantity(ledger_reason) if ledger_reason else by_meters.get(span, by_cell),
        )

    spans = sorted({i.span for i in inside})
    rows = [compare(span, [i for i in inside if i.span == span]) for span in spans]
    mine = [r for r in readings if unrelated or meters == {""} or r.meter in meters]
    if all(any(first_ns <= r.start_ns and r.end_ns <= last_ns for first_ns, last_ns in spans) for r in mine):
        return rows
    points = metering_points(mine)
    times = [[r for r in mine if points[r.meter] == point] for point in set(points.values())]
    start_ns = max([window.start_ns, *(min(r.start_ns for r in span_invoices) for span_invoices in times)])
    end_ns = min([window.end_ns, *(max(r.end_ns for r in span_invoices) for span_invoices in times)])
    within = [i for i in invoices if i.start_ns < end_ns and i.end_ns > start_ns]
    if times and start_ns < end_ns and (span := (start_ns, end_ns)) not in spans and invoiced_in(within, span).whole:
        rows.append(compare(span, within))
    return rows


def energy_of(total: EnergyInWindow) -> Quantity:
    """Return the energy of a window in uJ with its bounds."""
    return Quantity(total.uj, max(Fraction(0), total.uj - total.bound), total.uj + total.bound, unit=Unit.UJ)


def known_energy(total: EnergyInWindow | None, absent: str) -> Quantity:
    """Return the energy of a window that is known as a whole, in uJ.

    Otherwise it has a reason: the known share, or `absent` if nothing is known.
    """
    if total is None or not total.rows:
        return no_quantity(absent)
    if total.whole:
        return energy_of(total)
    return no_quantity(_gaps(total))


def _gaps(total: EnergyInWindow) -> str:
    """The known share of a window in whole percent, rounded down so that a gap is never 100 %."""
    return f"invoices or readings cover {int(total.known_ratio * 100)}% of the period"
