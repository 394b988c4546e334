"""Energy of time in which a meter was not read, by cell and with bounds, so that it takes the hours in which it was used. Pure.

The best known basis counts. *Meters below*: their energy flowed through this meter too, which is the lower bound. The rest of
its load is taken at the mean of the time in which all were read. If that is as long as the gap, the rest is at most its highest
quarter of an hour then. *Readings*: two readings of the supply meters, less the metered energy between them, are the energy of
the gap, within the error of the meters. *Mean power* of the same meter: from nothing to the maximum that can flow.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import Final, TypeVar

from energy_agent.core.meters.difference import energy_uj
from energy_agent.core.meters.facility import FilledEnergy, MeterEnergy, Role
from energy_agent.core.units import NS_PER_S, split_integer
from energy_agent.site.building.ratio import Terms
from energy_agent.site.building.spans import Span, overlap_ns

_Energy = TypeVar("_Energy", int, Fraction)
CELL_NS: Final = 900 * NS_PER_S
BELOW: Final = "the meters below"
READINGS: Final = "readings of the supply meters"
MEAN: Final = "the mean power of the same meters"
_PPM: Final = 1_000_000

MeteredCells = Mapping[int, tuple[int, int]]
"""Start of a cell, UTC ns -> (energy in uJ, metered ns)."""


@dataclass(frozen=True, slots=True)
class FilledCell:
    """Energy of the time `ns` of a cell in which a meter was not read, and where it is from; `high_uj` None: unbounded."""

    ns: int
    uj: int
    low_uj: int
    high_uj: int | None
    basis: str


@dataclass(frozen=True, slots=True)
class GapBridge:
    """Bounds of a meter's unread energy between two readings."""

    start_ns: int
    end_ns: int
    low_uj: int
    high_uj: int


@dataclass(frozen=True, slots=True)
class MeterFill:
    """All unread time of a meter in a window.

    Args:
        cells: what is filled in, by start of the cell.
        edge_uj: error of the readings of the meters below.
        bridges: intervals between readings, which do not overlap.
    """

    cells: Mapping[int, FilledCell]
    edge_uj: int = 0
    bridges: tuple[GapBridge, ...] = ()

    def within(self, start_ns: int, end_ns: int) -> FilledEnergy:
        """The sum over a part of the window."""
        inside = [bridge for bridge in self.bridges if start_ns <= bridge.start_ns and bridge.end_ns <= end_ns]
        cells = {t: cell for t, cell in self.cells.items() if start_ns <= t < end_ns}
        single = [c for t, c in cells.items() if not any(b.start_ns <= t < b.end_ns for b in inside)]
        edge = self.edge_uj if any(cell.basis == BELOW for cell in single) else 0
        highs = [cell.high_uj for cell in single]
        low = sum(bridge.low_uj for bridge in inside) + max(0, sum(cell.low_uj for cell in single) - edge)
        high = None if None in highs else sum(b.high_uj for b in inside) + sum(h for h in highs if h is not None) + edge
        return FilledEnergy(sum(cell.uj for cell in cells.values()), low, high)


def fill_gaps(
    meters: Mapping[str, MeterEnergy],
    names: Iterable[str],
    cells_of: Callable[[str], MeteredCells],
    spans: Mapping[str, Sequence[Span]],
) -> dict[str, MeterFill]:
    """Fill the gaps of some meters.

    Args:
        meters: what each meter counted in a window of whole cells.
        names: the meters to fill; those that were read all the time, or never, have no gap that can be filled.
        cells_of: returns the metered cells of a meter; of a meter below, empty where it is not known by cell.
        spans: when each of `names` should have been read, UTC ns.
    """
    fills = {}
    for name in names:
        if meters[name].missing_ns and meters[name].measured_ns:
            below = [m for m, e in meters.items() if e.facts.parent == name and e.facts.role not in _NO_LOAD]
            fills[name] = _filled(meters, name, cells_of(name), {m: cells_of(m) for m in below}, spans[name])
    return fills


def bridge_gaps(
    fills: Mapping[str, MeterFill],
    meters: Mapping[str, MeterEnergy],
    terms: Terms,
    cells_of: Callable[[str], MeteredCells],
    read: Mapping[Span, Fraction],
    window: Span,
) -> dict[str, MeterFill]:
    """Bound gaps of the meters of the energy from the grid by readings of the supply meters before and after them.

    A gap of one meter at a time: where several have gaps between two readings, the share of each is unknown. Readings that
    contradict the bounds of the meters are not used.

    Args:
        fills: as of `fill_gaps`.
        meters: as there.
        terms: signed meters whose sum the supply meters read.
        cells_of: as there.
        read: energy between two readings in uJ, by their instants.
        window: start and end of the window, UTC ns.
    """
    bridged = dict(fills)
    spans = (span for span in read if window[0] <= span[0] and span[1] <= window[1])
    for start_ns, end_ns in sorted(spans, key=lambda span: (span[1] - span[0], span)):
        gapped = [m for m in terms if m in bridged and any(start_ns <= t < end_ns for t in bridged[m].cells)]
        if len(gapped) != 1 or terms[gapped[0]] < 0:
            continue
        (name,) = gapped
        fill = bridged[name]
        metered = {m: [c for t, c in cells_of(m).items() if start_ns <= t < end_ns] for m in terms}
        gap = {t: cell for t, cell in fill.cells.items() if start_ns <= t < end_ns}
        seen_ns = {m: sum(ns for _, ns in meter_cells) for m, meter_cells in metered.items()}
        seen_ns[name] += sum(cell.ns for cell in gap.values())
        overlaps = any(b.start_ns < end_ns and start_ns < b.end_ns for b in fill.bridges)
        if overlaps or min(seen_ns.values()) < end_ns - start_ns:
            continue
        uj = {m: sum(energy for energy, _ in meter_cells) for m, meter_cells in metered.items()}
        rest_uj = read[start_ns, end_ns] - sum(sign * uj[m] for m, sign in terms.items())
        errors = {m: meters[m].facts.accuracy_ppm for m in terms}
        off = sum((Fraction(uj[m] * ppm, _PPM - ppm) + meters[m].edge_uj for m, ppm in errors.items()), Fraction(0))
        before = fill.within(start_ns, end_ns)
        low = max(before.low_uj, floor(rest_uj - off))
        high = ceil(rest_uj + off) if before.high_uj is None else min(before.high_uj, ceil(rest_uj + off))
        if low > high:
            continue
        value = min(high, max(low, round(rest_uj)))
        weights = [cell.uj for cell in gap.values()] if before.uj else [cell.ns for cell in gap.values()]
        cells = {
            t: FilledCell(cell.ns, uj, min(uj, cell.low_uj), None if cell.high_uj is None else max(uj, cell.high_uj), READINGS)
            for (t, cell), uj in zip(gap.items(), split_integer(value, weights), strict=True)
        }
        bridge = GapBridge(start_ns, end_ns, low, high)
        bridged[name] = replace(fill, cells={**fill.cells, **cells}, bridges=(*fill.bridges, bridge))
    return bridged


def with_fills(meters: Mapping[str, MeterEnergy], fills: Mapping[str, MeterFill], window: Span) -> dict[str, MeterEnergy]:
    """Return meters of a window, or of a part of it, with what is filled in for them."""
    return {m: replace(e, filled=fills[m].within(*window)) if m in fills else e for m, e in meters.items()}


def signed_cells(terms: Terms, cells_of: Callable[[str], MeteredCells], fills: Mapping[str, MeterFill]) -> dict[int, int]:
    """Return the signed sum of meters by cell, with what is filled in, in uJ."""
    cells: dict[int, int] = {}
    for m, sign in terms.items():
        for t, (uj, _) in cells_of(m).items():
            cells[t] = cells.get(t, 0) + sign * uj
        for t, cell in fills[m].cells.items() if m in fills else ():
            cells[t] = cells.get(t, 0) + sign * cell.uj
    return dict(sorted(cells.items()))


def grid_cells(
    terms: Terms, cells_of: Callable[[str], MeteredCells], fills: Mapping[str, MeterFill], total_uj: int
) -> dict[int, int]:
    """Return energy from the grid by cell that sums to its total: what some cells fed into the grid is taken off others."""
    cells = {t: max(0, uj) for t, uj in signed_cells(terms, cells_of, fills).items()}
    if total_uj < 0 or not sum(cells.values()):
        return cells
    return dict(zip(cells, split_integer(total_uj, list(cells.values())), strict=True))


_NO_LOAD: Final = (Role.RENEWABLE, Role.REUSED_HEAT)
"""Roles of meters below another through which no load of it flows."""


def _filled(
    meters: Mapping[str, MeterEnergy],
    name: str,
    meter_cells: MeteredCells,
    below: Mapping[str, MeteredCells],
    spans: Sequence[Span],
) -> MeterFill:
    meter = meters[name]
    unread = _unread(meter_cells, spans)
    starts = list(unread)
    lengths = split_integer(min(meter.missing_ns, sum(unread.values())), list(unread.values()))
    means = split_integer(meter.imputed_uj, lengths) if sum(lengths) else lengths
    whole = {m: {t: uj for t, (uj, ns) in cells.items() if ns >= CELL_NS} for m, cells in below.items()}
    helpers = {t: frozenset(m for m, cells in whole.items() if t in cells) for t in starts}
    counts = {chosen: sum(each == chosen for each in helpers.values()) for chosen in set(helpers.values())}
    rests = {chosen: _rests(meter_cells, [whole[m] for m in chosen]) for chosen in counts if chosen}
    gain, error = Fraction(_PPM, _PPM - meter.facts.accuracy_ppm), {m: meters[m].facts.accuracy_ppm for m in whole}
    most = {t: (uj * gain, ns) for t, (uj, ns) in meter_cells.items()}
    least = {m: {t: Fraction(uj * _PPM, _PPM + error[m]) for t, uj in cells.items()} for m, cells in whole.items()}
    most_rests = {chosen: _rests(most, [least[m] for m in chosen]) for chosen in rests}
    cells = {}
    for start_ns, ns, mean_uj in zip(starts, lengths, means, strict=True):
        if not ns:
            continue
        limit = None if meter.facts.max_mw is None else energy_uj(meter.facts.max_mw, ns)
        chosen = helpers[start_ns]
        cell = FilledCell(ns, mean_uj, 0, limit, MEAN)
        if chosen:
            load = {m: whole[m][start_ns] for m in chosen}
            metered_uj = meter_cells.get(start_ns, (0, 0))[0]
            low = max(0, floor(sum(least[m][start_ns] for m in chosen) - metered_uj * gain))
            uj, high = max(mean_uj, low), limit
            if len(rests[chosen]) >= counts[chosen]:
                rest = max(Fraction(0), Fraction(sum(rests[chosen]), len(rests[chosen])))
                uj = max(low, round((sum(load.values()) + rest) * ns / CELL_NS))
                most_load = sum((Fraction(uj * _PPM, _PPM - error[m]) for m, uj in load.items()), Fraction(0))
                top = ceil(most_load + max(Fraction(0), *most_rests[chosen]) - metered_uj / gain)
                high = max(uj, top if limit is None else min(limit, top))
            cell = FilledCell(ns, uj, low, None if high is None else max(uj, high), BELOW)
        cells[start_ns] = cell
    used = {m for t in cells for m in helpers[t]}
    return MeterFill(cells, sum(meters[m].edge_uj for m in used))


def _unread(meter_cells: MeteredCells, spans: Sequence[Span]) -> dict[int, int]:
    """How long a meter was not read in each cell in which it should have been."""
    unread: dict[int, int] = {}
    for start_ns, end_ns in spans:
        for t in range(start_ns - start_ns % CELL_NS, end_ns, CELL_NS):
            unread[t] = unread.get(t, 0) + overlap_ns([(start_ns, end_ns)], (t, t + CELL_NS))
    return {t: ns - meter_cells.get(t, (0, 0))[1] for t, ns in sorted(unread.items()) if ns > meter_cells.get(t, (0, 0))[1]}


def _rests(meter_cells: Mapping[int, tuple[_Energy, int]], below: Sequence[Mapping[int, _Energy]]) -> list[_Energy]:
    """What a meter measured beyond the meters below, in each cell in which all were read."""
    return [
        uj - sum(cells[t] for cells in below)
        for t, (uj, ns) in meter_cells.items()
        if ns >= CELL_NS and all(t in c for c in below)
    ]
