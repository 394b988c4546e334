"""Summary of a run: joules by device and workload with bounds, joules per token, and whether the ledger is consistent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.boundary import UNBOUNDED, Boundary, boundary, domain, is_gpu
from energy_agent.core.energy import State
from energy_agent.core.text import printable
from energy_agent.core.units import NS_PER_S, joules
from energy_agent.ledger import chain, summary
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import JOURNAL_NAME, read_rows
from energy_agent.ledger.rows.kinds import Cell, EdgeRow, GapRow, Row, TokenRow
from energy_agent.ledger.rows.uncertainty import Bounds


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Energy of a workload per generated token, idle time included, with the bounds of the energy."""

    workload: str
    model: str
    tokens: int
    j_per_token: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """Energy and tokens recorded in a ledger."""

    devices: tuple[tuple[str, Bounds], ...]
    workloads: tuple[tuple[str, Bounds], ...]
    unallocated_uj: int
    unattributed_uj: int
    total: Bounds
    tokens: tuple[TokenCost, ...]
    buckets_uj: int
    counters_uj: int
    chain_faults: tuple[str, ...]
    segments: int
    boundary: Boundary = Boundary.GPU
    hosts: tuple[tuple[str, Bounds], ...] = ()  # around the GPUs, which everything above is about
    host_workloads: tuple[tuple[str, Bounds], ...] = ()
    host_unallocated_uj: int = 0
    host_unattributed_uj: int = 0
    host_buckets_uj: int = 0
    host_counters_uj: int = 0
    unbounded_ns: int = 0  # time in which no meter saw the host and nothing bounds what it drew

    @property
    def conserved(self) -> bool:
        """Whether workloads, unallocated and unattributed sum to the journal's own totals, to the microjoule."""
        return self.buckets_uj == self.counters_uj and self.host_buckets_uj == self.host_counters_uj


def summarise(state: Path) -> LedgerSummary:
    """Read a state folder and check it.

    Raises:
        UsageError, ChainError, JournalError: as energy_agent.ledger.reading.
    """
    everything: list[Row] = [located.row for located in read_rows(state)]
    rows = [row for row in everything if not _around(row)]
    cells = [row for row in rows if isinstance(row, Cell)]
    journal = read_journal(state / JOURNAL_NAME)
    report = chain.verify([state / "segments"], journal)
    devices = sorted({c.device for c in cells} | {r.device for r in rows if isinstance(r, GapRow)})
    workloads = sorted({c.workload for c in cells if c.workload})
    by_workload = [(w, summary.bounds(rows, workload=w)) for w in workloads]
    unallocated, unattributed = _unowned(cells)
    beyond = [row for row in everything if isinstance(row, Cell) and _around(row)]
    hosts = sorted({row.device for row in everything if _around(row) and isinstance(row, Cell | GapRow)})
    host_unallocated, host_unattributed = _unowned(beyond)
    held = [(w, _shares(everything, hosts, w)) for w in workloads] if hosts else []
    totals = journal.book.totals.energy
    return LedgerSummary(
        devices=tuple((d, summary.bounds(rows, device=d)) for d in devices),
        workloads=tuple(by_workload),
        unallocated_uj=unallocated,
        unattributed_uj=unattributed,
        total=summary.bounds(rows),
        tokens=tuple(_tokens(rows, dict(by_workload))),
        buckets_uj=sum(b.energy_uj for _, b in by_workload) + unallocated + unattributed,
        counters_uj=sum(uj for key, uj in totals.items() if is_gpu(key[0])),
        boundary=boundary(hosts),
        hosts=tuple((h, summary.bounds(everything, device=h)) for h in hosts),
        host_workloads=tuple(held),
        host_unallocated_uj=host_unallocated,
        host_unattributed_uj=host_unattributed,
        host_buckets_uj=sum(b.energy_uj for _, b in held) + host_unallocated + host_unattributed,
        host_counters_uj=sum(uj for key, uj in totals.items() if not is_gpu(key[0])),
        unbounded_ns=sum(
            row.end_ns - row.start_ns for row in everything if isinstance(row, GapRow) and row.reason.startswith(UNBOUNDED)
        ),
        chain_faults=tuple(fault.line for fault in report.faults),
        segments=report.files,
    )


def _around(row: Row) -> bool:
    """Of the host around the GPUs."""
    return isinstance(row, Cell | EdgeRow | GapRow) and not is_gpu(row.device)


def _unowned(cells: Sequence[Cell]) -> tuple[int, int]:
    """(unallocated, unattributed) energy."""
    unallocated = sum(c.energy_uj for c in cells if c.state is State.UNALLOCATED)
    return unallocated, sum(c.energy_uj for c in cells if c.state.unattributed_reason is not None)


def _shares(rows: Sequence[Row], hosts: Sequence[str], workload: str) -> Bounds:
    """A workload's share of the host, over all parts of it."""
    parts = [summary.bounds(rows, workload=workload, device=h) for h in hosts]
    return Bounds(*(sum(getattr(b, name) for b in parts) for name in Bounds.__slots__))


def _tokens(rows: Sequence[Row], energy: dict[str, Bounds]) -> list[TokenCost]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        if isinstance(row, TokenRow) and row.phase == "generation":
            counts[row.workload, row.model] = counts.get((row.workload, row.model), 0) + row.tokens
    costs = []
    for (workload, model), tokens in sorted(counts.items()):
        bounds = energy.get(workload)
        if bounds is not None and tokens:
            per = [joules(uj) / tokens for uj in (bounds.energy_uj, bounds.low_uj, bounds.high_uj)]
            costs.append(TokenCost(workload, model, tokens, *per))
    return costs


def text(ledger: LedgerSummary, names: Mapping[str, str]) -> str:
    """The summary for a person, at most 80 columns wide but for long names; `names` gives short ones."""
    devices = sorted(((names.get(d, d), b) for d, b in ledger.devices), key=lambda pair: pair[0])
    workloads = sorted(((names.get(w, w), b) for w, b in ledger.workloads), key=lambda pair: pair[0])
    lines = [
        "",
        "Energy by device (boundary: GPU)",
        *_table(devices),
        "",
        "Energy by workload",
        *_table(workloads),
        f"  {'unallocated':{_NAME}} {joules(ledger.unallocated_uj):>12,.1f} J",
        f"  {'unattributed':{_NAME}} {joules(ledger.unattributed_uj):>12,.1f} J",
        *_table([("all", ledger.total)]),
        *_host(ledger, names),
        "",
        "In parentheses: lower and upper bounds, not a 95 % interval. They include the",
        "sensors' largest gain error over all GPUs and the uncertainty at window edges.",
    ]
    if ledger.tokens:
        lines += ["", "Energy per generated token, including the workload's idle time"]
        for t in ledger.tokens:
            lines.append(f"  {names.get(t.workload, t.workload)}, {t.model}")
            lines.append(f"    {t.j_per_token:.4f} J/token ({t.low:.4f} to {t.high:.4f}), {t.tokens:,} tokens")
    same = "==" if ledger.conserved else "!="
    chain_text = "verified" if not ledger.chain_faults else "; ".join(ledger.chain_faults)
    if ledger.hosts:
        same_host = "==" if ledger.host_buckets_uj == ledger.host_counters_uj else "!="
        lines += [
            "",
            "Ledger of the node without its GPUs",
            f"  {'workloads + unallocated + unattributed':40} {ledger.host_buckets_uj:>22,} uJ",
            f"  {same_host + ' energy of the node without GPUs':40} {ledger.host_counters_uj:>22,} uJ",
        ]
    lines += [
        "",
        "Ledger of the GPUs",
        f"  {'workloads + unallocated + unattributed':40} {ledger.buckets_uj:>22,} uJ",
        f"  {same + ' energy of the devices':40} {ledger.counters_uj:>22,} uJ",
        f"  chain: {ledger.segments} segment{'s' * (ledger.segments != 1)}, {chain_text}",
    ]
    return "\n".join(map(printable, lines))


_WITHIN = {
    Boundary.NODE: "whole node minus GPUs",
    Boundary.GPU_CPU: "processors and memory; not the whole node",
}


def _host(ledger: LedgerSummary, names: Mapping[str, str]) -> list[str]:
    """Return the lines for energy around the GPUs, if a meter of the node was recorded, and the name of the joint boundary."""
    if not ledger.hosts:
        return []
    workloads = sorted(((names.get(w, w), b) for w, b in ledger.host_workloads), key=lambda pair: pair[0])
    lines = [
        "",
        f"Energy of the node without its GPUs ({_WITHIN[ledger.boundary]})",
        *_table([(domain(h), b) for h, b in ledger.hosts]),
        "",
        "By workload, in proportion to allocated GPU time",
        *_table(workloads),
        f"  {'unallocated':{_NAME}} {joules(ledger.host_unallocated_uj):>12,.1f} J",
        f"  {'unattributed':{_NAME}} {joules(ledger.host_unattributed_uj):>12,.1f} J",
        f"  with the GPUs (boundary: {ledger.boundary}): {joules(ledger.counters_uj + ledger.host_counters_uj):,.1f} J",
    ]
    if ledger.unbounded_ns:
        lines.append(f"  not metered for {ledger.unbounded_ns / NS_PER_S:,.1f} s; that energy has no upper bound")
    return lines


_NAME = 24


def _table(rows: Sequence[tuple[str, Bounds]]) -> list[str]:
    return [f"  {name:{_NAME}} {_bounds(bounds)}" for name, bounds in rows]


def _bounds(b: Bounds) -> str:
    gap = f", up to {joules(b.gap_bound_uj):,.1f} J of it in gaps" if b.gap_bound_uj else ""
    return f"{joules(b.energy_uj):>12,.1f} J  ({joules(b.low_uj):,.1f} to {joules(b.high_uj):,.1f}{gap})"
