"""Entries become cells: cut at quarter hours of UTC, then folded into one row per key. Pure.

Laws (tests/energy_agent/ledger/rows/test_cells.py): the parts of an entry sum to it exactly, in energy, device time and
tokens; so the cells of a device sum to its entries, whatever the order and the batches in which they came.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from energy_agent.core.energy import Entry, Gap, Method, Steps, Tokens
from energy_agent.core.units import split_integer
from energy_agent.ledger.rows.kinds import CELL_NS, INT64_MAX, PPM, Cell, DeviceTimeRow, EdgeRow, GapRow, StepRow, TokenRow
from energy_agent.ledger.rows.uncertainty import EdgeRun

# Between two readings of a counter the error at the shared reading is the same; integrated power has no such readings.
_TELESCOPING: Final = frozenset({Method.COUNTER, Method.BRIDGED})

CUTS_MAX: Final = 10_000
"""Maximum number of cells per entry (104 days). A longer entry comes from a wrong clock and is recorded whole at its end.
Its row starts 104 days before that, so that a segment never spans years."""
COUNT_ROWS_MAX: Final = 8
"""Maximum number of rows per count of tokens or steps: any process on a GPU may report counts over a long time."""
_WIDTHS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96)
"""Cells per row of a count: whole fractions of a day, so that no row crosses midnight UTC."""


def cell_start(t_ns: int) -> int:
    """Start of the cell that holds an instant, UTC ns."""
    return t_ns - t_ns % CELL_NS


def _parts(start_ns: int, end_ns: int, edges: Sequence[int]) -> list[tuple[int, int]]:
    """[start, end) of each part; an empty or over-long interval is one part."""
    return list(itertools.pairwise([max(start_ns, end_ns - CUTS_MAX * CELL_NS), *edges, end_ns]))


def cuts(start_ns: int, end_ns: int, width_ns: int = CELL_NS) -> list[int]:
    """The edges of cells within an interval; none in an over-long one, which comes from a wrong clock."""
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


def entry_rows(entries: Sequence[Entry]) -> list[Cell | EdgeRow]:
    """Entries as cells, and spans of the whole device and of each owner; all shares of an interval have to be among them."""
    parts = cell_rows(entries)
    return [*parts, *span_rows(parts)]


def time_rows(entries: Sequence[Entry]) -> Iterator[DeviceTimeRow | EdgeRow]:
    """Entries of devices without a sensor: their device time alone, with spans as other entries have them."""
    parts = cell_rows(entries)
    for part in parts:
        key = part.cell_start_ns, part.device, part.workload, part.state
        yield DeviceTimeRow(*key, part.run.start_ns, part.run.end_ns, part.gpu_ns)
    yield from span_rows(parts)


def cell_rows(entries: Sequence[Entry]) -> list[Cell]:
    """The parts of entries within cells, each with its share of its interval."""
    whole_uj: dict[tuple[str, int, int, Method], int] = {}
    for entry in entries:
        interval = (entry.device, entry.start_ns, entry.end_ns, entry.method)
        whole_uj[interval] = whole_uj.get(interval, 0) + entry.edge_uj
    cuts = (cut(e, _share_ppm(e.edge_uj, whole_uj[e.device, e.start_ns, e.end_ns, e.method])) for e in entries)
    return list(itertools.chain.from_iterable(cuts))


def _share_ppm(edge_uj: int, whole_uj: int) -> int:
    """A workload's share of a device in ppm. The edge of an interval is split like its energy, so it gives the share."""
    return edge_uj * PPM // whole_uj if whole_uj > 0 else PPM


def cut(entry: Entry, share_ppm: int = PPM) -> list[Cell]:
    """The parts of an entry, in proportion to time, summing to it exactly; `share_ppm` is its share of its interval.

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
        run = EdgeRun(start, end, first, inner[i], last, share_ppm)
        parted.append(_part(entry, _cell_of(start, end), energies[i], times[i], run))
        first = last
    return parted


def _part(entry: Entry, cell_start_ns: int, energy_uj: int, gpu_ns: int, run: EdgeRun) -> Cell:
    return Cell(cell_start_ns, entry.device, entry.workload, entry.state, entry.method, energy_uj, gpu_ns, run)


def _whole(entry: Entry, start_ns: int, share_ppm: int) -> Cell:
    """An entry within one cell; refused like any other split where something of it is negative."""
    if min(entry.energy_uj, entry.edge_uj, entry.gpu_ns) < 0:
        raise ValueError("energy, edge or device time is negative")
    telescoping = entry.method in _TELESCOPING
    outer, inner = (entry.edge_uj, 0) if telescoping else (0, 2 * entry.edge_uj)
    run = EdgeRun(start_ns, entry.end_ns, outer, inner, outer, share_ppm)
    return _part(entry, _cell_of(entry.start_ns, entry.end_ns), entry.energy_uj, entry.gpu_ns, run)


def span_rows(parts: Iterable[Cell]) -> Iterator[EdgeRow]:
    """For each interval of a device one span of each owner, active and idle together, and one of all its shares."""
    by_owner: dict[tuple[int, str, str, int, int], EdgeRun] = {}
    whole: dict[tuple[int, str, int, int], EdgeRun] = {}
    for part in parts:
        run, start, device, workload = part.run, part.cell_start_ns, part.device, part.workload
        at = (start, device, run.start_ns, run.end_ns)
        whole[at] = _add_shares(whole.get(at), run)
        if workload:
            mine = (start, device, workload, run.start_ns, run.end_ns)
            by_owner[mine] = _add_shares(by_owner.get(mine), run)
    for (start, device, workload, begin, end), run in by_owner.items():
        share_ppm = _share_ppm(run.last_uj, whole[start, device, begin, end].last_uj)
        yield EdgeRow(start, device, workload, EdgeRun(begin, end, run.first_uj, run.inner_uj, run.last_uj, share_ppm))
    for (start, device, begin, end), run in whole.items():
        yield EdgeRow(start, device, "", EdgeRun(begin, end, run.first_uj, run.inner_uj, run.last_uj, PPM))


def _add_shares(had: EdgeRun | None, run: EdgeRun) -> EdgeRun:
    """Two shares of one interval together."""
    if had is None:
        return run
    edges = (had.first_uj + run.first_uj, had.inner_uj + run.inner_uj, had.last_uj + run.last_uj)
    return EdgeRun(run.start_ns, run.end_ns, *edges)


def gap_rows(gaps: Iterable[Gap]) -> Iterator[GapRow]:
    """Gaps cut at cells by time, their bounds with them."""
    for gap in gaps:
        parts = _parts(gap.start_ns, gap.end_ns, cuts(gap.start_ns, gap.end_ns))
        bounds = split_integer(gap.bound_uj, [end - start for start, end in parts])
        for (start, end), bound in zip(parts, bounds, strict=True):
            yield GapRow(_cell_of(start, end), gap.device, gap.reason, start, end, bound)


def token_rows(tokens: Iterable[Tokens]) -> Iterator[TokenRow]:
    """Counts cut at cells by time; a row stops at int64."""
    for count in tokens:
        for start, end, number in _split_count(count.start_ns, count.end_ns, count.tokens):
            yield TokenRow(_cell_of(start, end), count.workload, count.model, count.phase, start, end, number)


def step_rows(steps: Iterable[Steps]) -> Iterator[StepRow]:
    """Counts cut at cells by time; a row stops at int64."""
    for count in steps:
        for start, end, number in _split_count(count.start_ns, count.end_ns, count.steps):
            yield StepRow(_cell_of(start, end), count.workload, count.phase, start, end, number)


def _split_count(start_ns: int, end_ns: int, amount: int) -> Iterator[tuple[int, int, int]]:
    parts = _count_parts(start_ns, end_ns)
    numbers = split_integer(amount, [end - start for start, end in parts])
    for (start, end), number in zip(parts, numbers, strict=True):
        yield start, end, min(number, INT64_MAX)
