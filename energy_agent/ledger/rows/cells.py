"""Entries become cells: cut at quarter hours of UTC, then folded into one row per key. Pure.

Laws (tests/energy_agent/ledger/rows/test_cells.py): the parts of an entry sum to it exactly, in energy, device time and
tokens; so the cells of a device sum to its entries, whatever the order and the batches in which they came.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from energy_agent.core.energy import Entry, Gap, Method, Steps, Tokens
from energy_agent.core.record import record
from energy_agent.core.units import split_integer
from energy_agent.ledger.rows.kinds import (
    CELL_NS,
    INT64_MAX,
    PPM,
    Cell,
    CellKey,
    GapKey,
    GapRow,
    Span,
    SpanKey,
    StepKey,
    StepRow,
    TokenKey,
    TokenRow,
)
from energy_agent.ledger.rows.uncertainty import Run, follow

# Between two readings of a counter the error at the shared reading is the same; integrated power has no such readings.
_TELESCOPING: Final = frozenset({Method.COUNTER, Method.BRIDGED})

CUTS_MAX: Final = 10_000
"""Maximum of cells that one entry is cut into (104 days). A longer one comes from a wrong clock: it is booked whole at its end.
Its row starts 104 days before that, so that a segment never spans years."""
COUNT_ROWS_MAX: Final = 8
"""Maximum of rows that one count of tokens or steps becomes: any process on a GPU may report counts over a long time."""
_WIDTHS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96)
"""Cells per row of a count: whole fractions of a day, so that no row crosses midnight UTC."""


@record(frozen=True, slots=True)
class Piece:
    """The part of an entry within one cell."""

    cell_start_ns: int
    entry: Entry
    energy_uj: int
    gpu_ns: int
    run: Run


def cell_start(t_ns: int) -> int:
    """Start of the cell that holds an instant, UTC ns."""
    return t_ns - t_ns % CELL_NS


def _parts(start_ns: int, end_ns: int, edges: Sequence[int]) -> list[tuple[int, int]]:
    """[start, end) of each part; an empty or over-long stretch is one part."""
    return list(itertools.pairwise([max(start_ns, end_ns - CUTS_MAX * CELL_NS), *edges, end_ns]))


def cuts(start_ns: int, end_ns: int, width_ns: int = CELL_NS) -> list[int]:
    """The edges of cells within a stretch; none in an over-long one, which comes from a wrong clock."""
    last = cell_start(max(start_ns, end_ns - 1))
    if (last - cell_start(start_ns)) // CELL_NS >= CUTS_MAX:
        return []
    return list(range(start_ns - start_ns % width_ns + width_ns, last + 1, width_ns))


def _count_parts(start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """[start, end) of each row of a count: one per cell, or of as many cells as keep them few; beyond a week one."""
    widths = (cuts(start_ns, end_ns, width * CELL_NS) for width in _WIDTHS)
    return _parts(start_ns, end_ns, next((edges for edges in widths if len(edges) < COUNT_ROWS_MAX), []))


def _cell_of(start_ns: int, end_ns: int) -> int:
    return cell_start(max(start_ns, end_ns - 1))


def pieces(entries: Sequence[Entry]) -> list[Piece]:
    """The pieces of entries, each with its share of its interval; all shares of an interval have to be among them."""
    whole_uj: dict[tuple[str, int, int, Method], int] = {}
    for entry in entries:
        interval = (entry.device, entry.start_ns, entry.end_ns, entry.method)
        whole_uj[interval] = whole_uj.get(interval, 0) + entry.edge_uj
    cuts = (cut(e, _share_ppm(e.edge_uj, whole_uj[e.device, e.start_ns, e.end_ns, e.method])) for e in entries)
    return list(itertools.chain.from_iterable(cuts))


def _share_ppm(edge_uj: int, whole_uj: int) -> int:
    """A holder's share of a device. An interval's edge is split as its energy is: it tells the share of any kind of device."""
    return edge_uj * PPM // whole_uj if whole_uj > 0 else PPM


def cut(entry: Entry, share_ppm: int = PPM) -> list[Piece]:
    """The pieces of an entry, in proportion to time, summing to it exactly; `share_ppm` is its share of its interval.

    Where within an interval its energy fell is not known: what lies before a cut at c of E is anything from 0 to E, so the
    cut is an edge with the bound max(c, E - c), the same on both sides; it cancels when both sides are summed.
    """
    parts = _parts(entry.start_ns, entry.end_ns, cuts(entry.start_ns, entry.end_ns))
    if len(parts) == 1:  # nearly always, and every second for every device
        return [_whole(entry, parts[0][0], share_ppm)]
    weights = [end - start for start, end in parts]
    telescoping = entry.method in _TELESCOPING
    outer = entry.edge_uj if telescoping else 0
    inner = split_integer(0 if telescoping else 2 * entry.edge_uj, weights)
    energies, times = split_integer(entry.energy_uj, weights), split_integer(entry.gpu_ns, weights)
    parted, before_uj, first = [], 0, outer
    for i, (start, end) in enumerate(parts):
        before_uj += energies[i]
        last = outer if i == len(parts) - 1 else outer + max(before_uj, entry.energy_uj - before_uj)
        run = Run(start, end, first, inner[i], last, share_ppm)
        parted.append(Piece(_cell_of(start, end), entry, energies[i], times[i], run))
        first = last
    return parted


def _whole(entry: Entry, start_ns: int, share_ppm: int) -> Piece:
    """An entry within one cell; refused like any other split where something of it is negative."""
    if min(entry.energy_uj, entry.edge_uj, entry.gpu_ns) < 0:
        raise ValueError("energy, edge or device time is negative")
    telescoping = entry.method in _TELESCOPING
    outer, inner = (entry.edge_uj, 0) if telescoping else (0, 2 * entry.edge_uj)
    run = Run(start_ns, entry.end_ns, outer, inner, outer, share_ppm)
    return Piece(_cell_of(entry.start_ns, entry.end_ns), entry, entry.energy_uj, entry.gpu_ns, run)


def fold_cells(current: Mapping[CellKey, Cell], pieces: Iterable[Piece]) -> dict[CellKey, Cell]:
    """The cells that pieces change, as they are afterwards."""
    changed: dict[CellKey, Cell] = {}
    for piece in pieces:
        entry = piece.entry
        key = (piece.cell_start_ns, entry.device, entry.workload, entry.state, entry.method)
        cell = changed.get(key) or current.get(key)
        if cell is None:
            changed[key] = Cell(*key, piece.energy_uj, piece.gpu_ns, piece.run)
        else:
            energy, gpu_ns = cell.energy_uj + piece.energy_uj, cell.gpu_ns + piece.gpu_ns
            changed[key] = Cell(*key, energy, gpu_ns, follow(cell.run, piece.run))
    return changed


def fold_spans(current: Mapping[SpanKey, Span], pieces: Iterable[Piece]) -> dict[SpanKey, Span]:
    """The spans that pieces change: one of the whole device, and one of each holder over its active and idle time together."""
    changed: dict[SpanKey, Span] = {}
    for key, run in _span_runs(pieces):
        span = changed.get(key) or current.get(key)
        changed[key] = Span(*key, run if span is None else follow(span.run, run))
    return changed


def _span_runs(pieces: Iterable[Piece]) -> Iterator[tuple[SpanKey, Run]]:
    """For each interval of a device one run of each holder, active and idle together, and one of all its shares."""
    held: dict[tuple[int, str, str, int, int], Run] = {}
    whole: dict[tuple[int, str, int, int], Run] = {}
    for piece in pieces:
        run, device, workload = piece.run, piece.entry.device, piece.entry.workload
        at = (piece.cell_start_ns, device, run.start_ns, run.end_ns)
        whole[at] = _beside(whole.get(at), run)
        if workload:
            mine = (piece.cell_start_ns, device, workload, run.start_ns, run.end_ns)
            held[mine] = _beside(held.get(mine), run)
    for (start, device, workload, *span), run in held.items():
        share_ppm = _share_ppm(run.last_uj, whole[start, device, span[0], span[1]].last_uj)
        yield (start, device, workload), replace(run, last_ppm=share_ppm)
    for (start, device, _, _), run in whole.items():
        yield (start, device, ""), replace(run, last_ppm=PPM)


def _beside(had: Run | None, run: Run) -> Run:
    """Two shares of one interval together."""
    if had is None:
        return run
    edges = (had.first_uj + run.first_uj, had.inner_uj + run.inner_uj, had.last_uj + run.last_uj)
    return Run(run.start_ns, run.end_ns, *edges)


def fold_gaps(current: Mapping[GapKey, GapRow], gaps: Iterable[Gap]) -> dict[GapKey, GapRow]:
    """The gap rows that gaps change; a gap over several cells is split by time, its bound with it."""
    changed: dict[GapKey, GapRow] = {}
    for gap in gaps:
        parts = _parts(gap.start_ns, gap.end_ns, cuts(gap.start_ns, gap.end_ns))
        bounds = split_integer(gap.bound_uj, [end - start for start, end in parts])
        for (start, end), bound in zip(parts, bounds, strict=True):
            key = (_cell_of(start, end), gap.device, gap.reason)
            row = changed.get(key) or current.get(key) or GapRow(*key, start, end, 0)
            start, end = min(row.start_ns, start), max(row.end_ns, end)
            changed[key] = GapRow(*key, start, end, row.bound_uj + bound)
    return changed


def fold_tokens(current: Mapping[TokenKey, TokenRow], tokens: Iterable[Tokens]) -> dict[TokenKey, TokenRow]:
    """The token rows that counts change; a count over several cells is split by time. A row stops at int64."""
    changed: dict[TokenKey, TokenRow] = {}
    for count in tokens:
        parts = _count_parts(count.start_ns, count.end_ns)
        numbers = split_integer(count.tokens, [end - start for start, end in parts])
        for (start, end), number in zip(parts, numbers, strict=True):
            key = (_cell_of(start, end), count.workload, count.model, count.phase)
            row = changed.get(key) or current.get(key) or TokenRow(*key, start, end, 0)
            start, end = min(row.start_ns, start), max(row.end_ns, end)
            changed[key] = TokenRow(*key, start, end, min(row.tokens + number, INT64_MAX))
    return changed


def fold_steps(current: Mapping[StepKey, StepRow], steps: Iterable[Steps]) -> dict[StepKey, StepRow]:
    """The step rows that counts change; a count over several cells is split by time. A row stops at int64."""
    changed: dict[StepKey, StepRow] = {}
    for count in steps:
        parts = _count_parts(count.start_ns, count.end_ns)
        numbers = split_integer(count.steps, [end - start for start, end in parts])
        for (start, end), number in zip(parts, numbers, strict=True):
            key = (_cell_of(start, end), count.workload, count.phase)
            row = changed.get(key) or current.get(key) or StepRow(*key, start, end, 0)
            start, end = min(row.start_ns, start), max(row.end_ns, end)
            changed[key] = StepRow(*key, start, end, min(row.steps + number, INT64_MAX))
    return changed
