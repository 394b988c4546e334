"""Entries become cells: cut at quarter hours of UTC, then folded into one row per key. Pure.

Laws (tests/energy_agent/ledger/test_cells.py): the parts of an entry sum to it exactly, in energy, device time and tokens; so
the cells of a device sum to its entries, whatever the order and the batches in which they came.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from energy_agent.core.record import record
from energy_agent.core.types import Entry, Gap, Method, Steps, Tokens
from energy_agent.core.units import split_integer
from energy_agent.ledger.rows import (
    CELL_NS,
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
from energy_agent.ledger.uncertainty import Run, follow

# Between two readings of a counter the error at the shared reading is the same; integrated power has no such readings.
_TELESCOPING: Final = frozenset({Method.COUNTER, Method.BRIDGED})

CUTS_MAX: Final = 10_000
"""Cells one entry is cut into at most (104 days). A longer one comes from a wrong clock: it is booked whole at its end."""


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


def _parts(start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """[start, end) of each part; an empty or over-long stretch is one part."""
    last = cell_start(max(start_ns, end_ns - 1))
    if (last - cell_start(start_ns)) // CELL_NS >= CUTS_MAX:
        return [(start_ns, end_ns)]
    bounds = [start_ns, *range(cell_start(start_ns) + CELL_NS, last + 1, CELL_NS), end_ns]
    return list(itertools.pairwise(bounds))


def _cell_of(start_ns: int, end_ns: int) -> int:
    return cell_start(max(start_ns, end_ns - 1))


def cut(entry: Entry) -> list[Piece]:
    """The pieces of an entry, in proportion to time, summing to it exactly.

    Where within an interval its energy fell is not known: what lies before a cut at c of E is anything from 0 to E, so the
    cut is an edge with the bound max(c, E - c), the same on both sides; it cancels when both sides are summed.
    """
    parts = _parts(entry.start_ns, entry.end_ns)
    if len(parts) == 1:  # nearly always, and every second for every device
        return [_whole(entry)]
    weights = [end - start for start, end in parts]
    telescoping = entry.method in _TELESCOPING
    outer = entry.edge_uj if telescoping else 0
    inner = split_integer(0 if telescoping else 2 * entry.edge_uj, weights)
    energies, times = split_integer(entry.energy_uj, weights), split_integer(entry.gpu_ns, weights)
    held_ns = entry.end_ns - entry.start_ns
    ppm = entry.gpu_ns * PPM // held_ns if held_ns > 0 and entry.workload else PPM
    pieces, before_uj, first = [], 0, outer
    for i, (start, end) in enumerate(parts):
        before_uj += energies[i]
        last = outer if i == len(parts) - 1 else outer + max(before_uj, entry.energy_uj - before_uj)
        run = Run(start, end, first, inner[i], last, ppm)
        pieces.append(Piece(_cell_of(start, end), entry, energies[i], times[i], run))
        first = last
    return pieces


def _whole(entry: Entry) -> Piece:
    """An entry within one cell; refused like any other split where something of it is negative."""
    if min(entry.energy_uj, entry.edge_uj, entry.gpu_ns) < 0:
        raise ValueError("energy, edge or device time is negative")
    telescoping = entry.method in _TELESCOPING
    outer, inner = (entry.edge_uj, 0) if telescoping else (0, 2 * entry.edge_uj)
    held_ns = entry.end_ns - entry.start_ns
    ppm = entry.gpu_ns * PPM // held_ns if held_ns > 0 and entry.workload else PPM
    run = Run(entry.start_ns, entry.end_ns, outer, inner, outer, ppm)
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
    """Runs by holder, and for each interval of a device the sum of its shares' edges, which are those of the interval."""
    whole: dict[tuple[int, str, int, int], Run] = {}
    for piece in pieces:
        run, device = piece.run, piece.entry.device
        if piece.entry.workload:
            yield (piece.cell_start_ns, device, piece.entry.workload), run
        at = (piece.cell_start_ns, device, run.start_ns, run.end_ns)
        had = whole.get(at)
        first, inner, last = run.first_uj, run.inner_uj, run.last_uj
        if had is not None:
            first, inner, last = first + had.first_uj, inner + had.inner_uj, last + had.last_uj
        whole[at] = Run(run.start_ns, run.end_ns, first, inner, last)
    for (start, device, _, _), run in whole.items():
        yield (start, device, ""), run


def fold_gaps(current: Mapping[GapKey, GapRow], gaps: Iterable[Gap]) -> dict[GapKey, GapRow]:
    """The gap rows that gaps change; a gap over several cells is split by time, its bound with it."""
    changed: dict[GapKey, GapRow] = {}
    for gap in gaps:
        parts = _parts(gap.start_ns, gap.end_ns)
        bounds = split_integer(gap.bound_uj, [end - start for start, end in parts])
        for (start, end), bound in zip(parts, bounds, strict=True):
            key = (_cell_of(start, end), gap.device, gap.reason)
            row = changed.get(key) or current.get(key) or GapRow(*key, start, end, 0)
            start, end = min(row.start_ns, start), max(row.end_ns, end)
            changed[key] = GapRow(*key, start, end, row.bound_uj + bound)
    return changed


def fold_tokens(current: Mapping[TokenKey, TokenRow], tokens: Iterable[Tokens]) -> dict[TokenKey, TokenRow]:
    """The token rows that counts change; a count over several cells is split by time."""
    changed: dict[TokenKey, TokenRow] = {}
    for count in tokens:
        parts = _parts(count.start_ns, count.end_ns)
        numbers = split_integer(count.tokens, [end - start for start, end in parts])
        for (start, end), number in zip(parts, numbers, strict=True):
            key = (_cell_of(start, end), count.workload, count.model, count.phase)
            row = changed.get(key) or current.get(key) or TokenRow(*key, start, end, 0)
            start, end = min(row.start_ns, start), max(row.end_ns, end)
            changed[key] = TokenRow(*key, start, end, row.tokens + number)
    return changed


def fold_steps(current: Mapping[StepKey, StepRow], steps: Iterable[Steps]) -> dict[StepKey, StepRow]:
    """The step rows that counts change; a count over several cells is split by time."""
    changed: dict[StepKey, StepRow] = {}
    for count in steps:
        parts = _parts(count.start_ns, count.end_ns)
        numbers = split_integer(count.steps, [end - start for start, end in parts])
        for (start, end), number in zip(parts, numbers, strict=True):
            key = (_cell_of(start, end), count.workload, count.phase)
            row = changed.get(key) or current.get(key) or StepRow(*key, start, end, 0)
            start, end = min(row.start_ns, start), max(row.end_ns, end)
            changed[key] = StepRow(*key, start, end, row.steps + number)
    return changed
