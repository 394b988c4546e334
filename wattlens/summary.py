"""Summary of a run: joules by device and workload with bounds, joules per token, and whether the ledger is consistent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

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
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class EnergyShares:
    """Energy of the GPUs, or of the host around them: by device, by workload, and by the journal's own totals."""

    devices: tuple[tuple[str, Bounds], ...] = ()
    workloads: tuple[tuple[str, Bounds], ...] = ()
    unallocated_uj: int = 0
    unattributed_uj: int = 0
    counters_uj: int = 0

    @property
    def buckets_uj(self) -> int:
        """Workloads, unallocated and unattributed together."""
        return sum(bounds.energy_uj for _, bounds in self.workloads) + self.unallocated_uj + self.unattributed_uj

    @property
    def conserved(self) -> bool:
        """Whether they sum to the journal's own totals, to the microjoule."""
        return self.buckets_uj == self.counters_uj


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """Energy and tokens recorded in a ledger. `host` is empty where no meter around the GPUs was recorded."""

    gpus: EnergyShares
    total: Bounds
    tokens: tuple[TokenCost, ...]
    chain_faults: tuple[str, ...]
    segments: int
    boundary: Boundary = Boundary.GPU
    host: EnergyShares = EnergyShares()
    unbounded_ns: int = 0  # time in which no meter saw the host and nothing bounds what it drew

    @property
    def conserved(self) -> bool:
        """Whether both add up."""
        return self.gpus.conserved and self.host.conserved


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
    beyond = [row for row in everything if isinstance(row, Cell) and _around(row)]
    hosts = sorted({row.device for row in everything if _around(row) and isinstance(row, Cell | GapRow)})
    totals = journal.book.totals.energy
    return LedgerSummary(
        EnergyShares(
            tuple((d, summary.bounds(rows, device=d)) for d in devices),
            tuple(by_workload),
            *_unowned(cells),
            counters_uj=sum(uj for key, uj in totals.items() if is_gpu(key[0])),
        ),
        total=summary.bounds(rows),
        tokens=tuple(_tokens(rows, dict(by_workload))),
        boundary=boundary(hosts),
        host=EnergyShares(
            tuple((h, summary.bounds(everything, device=h)) for h in hosts),
            tuple((w, _shares(everything, hosts, w)) for w in workloads if hosts),
            *_unowned(beyond),
            counters_uj=sum(uj for key, uj in totals.items() if not is_gpu(key[0])),
        ),
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
    lines = [
        "",
        "Energy by device (boundary: GPU)",
        *_table(ledger.gpus.devices, names),
        "",
        "Energy by workload",
        *_workloads(ledger.gpus, names),
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
            lines.append(f"    {t.j_per_token:.4f} J/token ({t.lower:.4f} to {t.upper:.4f}), {t.tokens:,} tokens")
    if ledger.host.devices:
        lines += ["", "Ledger of the node without its GPUs", *_balance(ledger.host, "energy of the node without GPUs")]
    chain_text = "verified" if not ledger.chain_faults else "; ".join(ledger.chain_faults)
    lines += [
        "",
        "Ledger of the GPUs",
        *_balance(ledger.gpus, "energy of the devices"),
        f"  chain: {ledger.segments} segment{'s' * (ledger.segments != 1)}, {chain_text}",
    ]
    return "\n".join(map(printable, lines))


def _balance(shares: EnergyShares, what: str) -> list[str]:
    return [
        f"  {'workloads + unallocated + unattributed':40} {shares.buckets_uj:>22,} uJ",
        f"  {('==' if shares.conserved else '!=') + ' ' + what:40} {shares.counters_uj:>22,} uJ",
    ]


_WITHIN = {
    Boundary.NODE: "whole node minus GPUs",
    Boundary.GPU_CPU: "processors and memory; not the whole node",
}


def _host(ledger: LedgerSummary, names: Mapping[str, str]) -> list[str]:
    """Return the lines for energy around the GPUs, if a meter of the node was recorded, and the name of the joint boundary."""
    if not ledger.host.devices:
        return []
    lines = [
        "",
        f"Energy of the node without its GPUs ({_WITHIN[ledger.boundary]})",
        *_table([(domain(h), b) for h, b in ledger.host.devices]),
        "",
        "By workload, in proportion to allocated GPU time",
        *_workloads(ledger.host, names),
        f"  with the GPUs (boundary: {ledger.boundary}): {joules(ledger.gpus.counters_uj + ledger.host.counters_uj):,.1f} J",
    ]
    if ledger.unbounded_ns:
        lines.append(f"  not metered for {ledger.unbounded_ns / NS_PER_S:,.1f} s; that energy has no upper bound")
    return lines


_NAME = 24


def _table(rows: Sequence[tuple[str, Bounds]], names: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """A line per row; sorted by their names where these are given."""
    named = sorted(((names.get(key, key), bounds) for key, bounds in rows), key=lambda row: row[0]) if names else rows
    return [f"  {name:{_NAME}} {_bounds(bounds)}" for name, bounds in named]


def _workloads(shares: EnergyShares, names: Mapping[str, str]) -> list[str]:
    return [
        *_table(shares.workloads, names),
        f"  {'unallocated':{_NAME}} {joules(shares.unallocated_uj):>12,.1f} J",
        f"  {'unattributed':{_NAME}} {joules(shares.unattributed_uj):>12,.1f} J",
    ]


def _bounds(b: Bounds) -> str:
    gap = f", up to {joules(b.gap_bound_uj):,.1f} J of it in gaps" if b.gap_bound_uj else ""
    return f"{joules(b.energy_uj):>12,.1f} J  ({joules(b.low_uj):,.1f} to {joules(b.high_uj):,.1f}{gap})"
