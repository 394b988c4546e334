"""The summary of a run: joules by device and workload with their bounds, joules per token, and whether the ledger adds up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.units import joules
from energy_agent.ledger import chain, summary
from energy_agent.ledger.reading import JOURNAL_NAME, read_rows
from energy_agent.ledger.rows import Cell, GapRow, Row, TokenRow
from energy_agent.ledger.uncertainty import Bounds
from energy_agent.ledger.view import read_journal


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
class Summary:
    """What a ledger says."""

    devices: tuple[tuple[str, Bounds], ...]
    workloads: tuple[tuple[str, Bounds], ...]
    unheld_uj: int
    unattributed_uj: int
    total: Bounds
    tokens: tuple[TokenCost, ...]
    buckets_uj: int
    counters_uj: int
    chain_faults: tuple[str, ...]
    segments: int

    @property
    def conserved(self) -> bool:
        """Whether workloads, unheld and unattributed sum to the journal's own totals, to the microjoule."""
        return self.buckets_uj == self.counters_uj


def summarise(state: Path) -> Summary:
    """Read a state folder and check it.

    Raises:
        UsageError, ChainError, JournalError: as energy_agent.ledger.reading.
    """
    rows: list[Row] = [located.row for located in read_rows(state)]
    cells = [row for row in rows if isinstance(row, Cell)]
    journal = read_journal(state / JOURNAL_NAME)
    report = chain.verify([state / "segments"], journal)
    devices = sorted({c.device for c in cells} | {r.device for r in rows if isinstance(r, GapRow)})
    workloads = sorted({c.workload for c in cells if c.workload})
    by_workload = [(w, summary.bounds(rows, workload=w)) for w in workloads]
    unheld = sum(c.energy_uj for c in cells if c.state.value == "unheld")
    unattributed = sum(c.energy_uj for c in cells if c.state.unattributed_reason is not None)
    return Summary(
        devices=tuple((d, summary.bounds(rows, device=d)) for d in devices),
        workloads=tuple(by_workload),
        unheld_uj=unheld,
        unattributed_uj=unattributed,
        total=summary.bounds(rows),
        tokens=tuple(_tokens(rows, dict(by_workload))),
        buckets_uj=sum(b.energy_uj for _, b in by_workload) + unheld + unattributed,
        counters_uj=sum(journal.book.totals.energy.values()),
        chain_faults=tuple(fault.line for fault in report.faults),
        segments=report.files,
    )


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


def text(found: Summary, names: Mapping[str, str]) -> str:
    """The summary for a person, at most 80 columns wide but for long names; `names` gives short ones."""
    devices = sorted(((names.get(d, d), b) for d, b in found.devices), key=lambda pair: pair[0])
    workloads = sorted(((names.get(w, w), b) for w, b in found.workloads), key=lambda pair: pair[0])
    lines = [
        "",
        "Energy by device (boundary: the GPU boards)",
        *_table(devices),
        "",
        "Energy by workload",
        *_table(workloads),
        f"  {'nobody (unheld)':{_NAME}} {joules(found.unheld_uj):>12,.1f} J",
        f"  {'unattributed':{_NAME}} {joules(found.unattributed_uj):>12,.1f} J",
        *_table([("all", found.total)]),
        "",
        "In brackets: bounds, not a 95 % interval. They add the largest error of the",
        "sensors' gain over all boards to what the edges of the windows leave open.",
    ]
    if found.tokens:
        lines += ["", "Energy per generated token, the holder's idle time included"]
        for t in found.tokens:
            lines.append(f"  {names.get(t.workload, t.workload)}, {t.model}")
            lines.append(f"    {t.j_per_token:.4f} J/token ({t.low:.4f} to {t.high:.4f}), {t.tokens:,} tokens")
    same = "==" if found.conserved else "!="
    chain_text = "verified" if not found.chain_faults else "; ".join(found.chain_faults)
    lines += [
        "",
        "The ledger",
        f"  workloads + unheld + unattributed   {found.buckets_uj:>22,} uJ",
        f"  {same + ' energy of the devices':35} {found.counters_uj:>22,} uJ",
        f"  chain: {found.segments} segment{'s' * (found.segments != 1)}, {chain_text}",
    ]
    return "\n".join(lines)


_NAME = 24


def _table(rows: Sequence[tuple[str, Bounds]]) -> list[str]:
    return [f"  {name:{_NAME}} {_bounds(bounds)}" for name, bounds in rows]


def _bounds(b: Bounds) -> str:
    gap = f", of it up to {joules(b.gap_bound_uj):,.1f} J unseen" if b.gap_bound_uj else ""
    return f"{joules(b.energy_uj):>12,.1f} J  ({joules(b.low_uj):,.1f} to {joules(b.high_uj):,.1f}{gap})"
