"""Totals of a fleet's quarter, added up from the generator's own numbers as they are drawn: no ledger, no SQL, no floats.

Plain Python integers and fractions. Only data within the quarter of its site counts, except for `booked_uj`, which includes
everything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from benchmarks.report_fleet import (
    BOUND_UJ_S,
    CELL_NS,
    DEAD,
    DEAD_REASON,
    GPUS,
    HELD,
    HOLE_NS,
    HOLE_REASON,
    HOLED,
    UNHELD,
    JobPlacement,
    JobTemplate,
    NodeCell,
    S,
    site_of,
    window,
)
from benchmarks.report_segments import host_shares
from energy_agent.core.units import split_integer

ACTIVE, IDLE, OTHER, HOST = range(4)
NOBODY: Final = ""
Cells = dict[int, dict[str, list[int]]]


def part_of(job: JobTemplate) -> str:
    """The labels by which joules are reported: team, project, model, precision and price class."""
    return "|".join((job.team, job.project, job.model, job.precision, job.price_class))


@dataclass
class ExpectedTotals:
    """Sums of some nodes over some days.

    Args:
        cells: site -> cell -> part -> uJ of GPUs busy, idle, unallocated, and of hosts.
        tokens: site/part/model/phase -> tokens.
        steps: site -> steps.
        gaps: site/reason -> bound in uJ, ns.
        boards: node/GPU -> uJ, runs without a hole; GPUS is the host.
        touching: node/GPU of GPUs that are metered up to the last instant of these days.
        booked_uj: site -> everything, whether it lies in the quarter or not.
        gpu_ns: device time allocated to workloads.
    """

    cells: dict[str, Cells] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, list[int]] = field(default_factory=dict)
    boards: dict[str, list[int]] = field(default_factory=dict)
    touching: set[str] = field(default_factory=set)
    booked_uj: dict[str, int] = field(default_factory=dict)
    gpu_ns: int = 0

    def add(self, node: int, cells: Iterable[NodeCell]) -> None:
        """Add a node's cells; of one node they come in the order of time."""
        site = site_of(node)
        within, mine = window(site), self.cells.setdefault(site.name, {})
        everything = 0
        for cell in cells:
            inside = cell.cell in within
            of: dict[str, list[int]] = mine.setdefault(cell.cell, {}) if inside else {}
            for part, what, uj in _energies(cell):
                everything += uj
                of.setdefault(part, [0, 0, 0, 0])[what] += uj
            if not inside:
                self._touch(node, cell, inside=False)
                continue
            self._touch(node, cell, inside=True)
            for stay, *counts in cell.tokens:
                for phase, count in zip(("generation", "prompt"), counts, strict=True):
                    _plus(self.tokens, f"{site.name}/{part_of(stay.job)}/{stay.job.model}/{phase}", count)
            for _, steps in cell.steps:
                _plus(self.steps, site.name, steps)
            for use in cell.uses:
                if use.form in (DEAD, HOLED):
                    reason, ns = (DEAD_REASON, CELL_NS) if use.form == DEAD else (HOLE_REASON, HOLE_NS)
                    gap = self.gaps.setdefault(f"{site.name}/{reason}", [0, 0])
                    gap[0] += ns // S * BOUND_UJ_S
                    gap[1] += ns
                if use.form != UNHELD:
                    self.gpu_ns += use.active_ns + use.idle_ns
        _plus(self.booked_uj, site.name, everything)

    def _touch(self, node: int, cell: NodeCell, *, inside: bool) -> None:
        """Energy and runs of each GPU; a cell outside of the quarter ends a run."""
        for gpu in range(GPUS + 1):
            name = f"{node}/{gpu}"
            form = HELD if gpu == GPUS else cell.uses[gpu].form
            if not inside or form == DEAD:
                self.touching.discard(name)
                continue
            board = self.boards.setdefault(name, [0, 0])
            board[0] += cell.host_uj if gpu == GPUS else cell.uses[gpu].active_uj + cell.uses[gpu].idle_uj
            board[1] += (name not in self.touching) + (form == HOLED)
            self.touching.add(name)

    def merge(self, other: "ExpectedTotals") -> None:
        """Add totals of other nodes, or of the same nodes on later days (computed with the touching intervals as input)."""
        for site, cells in other.cells.items():
            mine = self.cells.setdefault(site, {})
            for cell, parts in cells.items():
                into = mine.setdefault(cell, {})
                for part, sums in parts.items():
                    into[part] = [a + b for a, b in zip(into.get(part, (0, 0, 0, 0)), sums, strict=True)]
        for name in ("tokens", "steps", "booked_uj"):
            for key, value in getattr(other, name).items():
                _plus(getattr(self, name), key, value)
        for name in ("gaps", "boards"):
            held = getattr(self, name)
            for key, pair in getattr(other, name).items():
                held[key] = [a + b for a, b in zip(held.get(key, (0, 0)), pair, strict=True)]
        self.touching |= other.touching
        self.gpu_ns += other.gpu_ns


def _energies(cell: NodeCell) -> Iterator[tuple[str, int, int]]:
    """(part, which sum, uJ) of a node's cell."""
    parts = {NOBODY: NOBODY}
    for use in cell.uses:
        holders = use.holders
        if holders:
            parts[holders[0].workload] = of = _part(holders[0])
            if len(holders) > 1:
                parts[holders[1].workload] = _part(holders[1])
                yield of, ACTIVE, use.active_uj
                yield parts[holders[1].workload], ACTIVE, use.idle_uj
                continue
            yield of, ACTIVE, use.active_uj
            if use.idle_uj:
                yield of, IDLE, use.idle_uj
        elif use.form == UNHELD:
            yield NOBODY, OTHER, use.idle_uj
    shares = host_shares(cell)
    for (name, _), uj in zip(shares, split_integer(cell.host_uj, [weight for _, weight in shares]), strict=True):
        yield parts[name], HOST, uj


_PARTS: dict[JobTemplate, str] = {}


def _part(stay: JobPlacement) -> str:
    part = _PARTS.get(stay.job)
    if part is None:
        part = _PARTS[stay.job] = part_of(stay.job)
    return part


def _plus(into: dict[str, int], key: str, value: int) -> None:
    into[key] = into.get(key, 0) + value
