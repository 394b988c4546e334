"""What waits for the next commit: as few rows as tell the same, and never more than memory can bear. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from energy_agent.core.boundary import JOURNAL_LOST
from energy_agent.core.energy import Action, Entry, Gap, Method, Steps, Tokens, WorkloadFacts
from energy_agent.core.proof import ProofRow
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts

PENDING_MAX = 20_000
"""Rows that wait for a journal that cannot be written: about 40 minutes of eight devices at 1 Hz."""


@dataclass(slots=True)
class Pending:
    """What is not committed yet."""

    entries: list[Entry] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    tokens: list[Tokens] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    proof: list[ProofRow] = field(default_factory=list)
    facts: list[WorkloadFacts] = field(default_factory=list)
    devices: list[DeviceFacts] = field(default_factory=list)
    steps: list[Steps] = field(default_factory=list)
    _last: dict[str, int] = field(default_factory=dict)  # device -> its last entry

    def add(self, entry: Entry) -> None:
        """Book an entry; one that goes on where the last of its device ended, in the same cell, becomes part of it.

        So ten readings a second cost the journal no more than one.
        """
        at = self._last.get(entry.device)
        if at is not None and _continues(self.entries[at], entry):
            self.entries[at] = _joined(self.entries[at], entry)
            return
        self._last[entry.device] = len(self.entries)
        self.entries.append(entry)

    def let_go(self) -> bool:
        """Keep what waits bounded: True where the energy rows were too many and are gone, so that meters must step back."""
        if len(self.tokens) >= PENDING_MAX:
            self.tokens = _merged(self.tokens)
        if len(self.steps) >= PENDING_MAX:
            self.steps = _merged_steps(self.steps)
        if len(self.entries) < PENDING_MAX:
            return False
        self.gaps = [gap for gap in self.gaps if gap.reason.endswith(JOURNAL_LOST)]  # no later reading brings them again
        self.entries, self._last = [], {}
        return True


def _continues(last: Entry, entry: Entry) -> bool:
    same = (last.workload, last.state, last.method) == (entry.workload, entry.state, entry.method)
    whole = entry.gpu_ns in (0, entry.end_ns - entry.start_ns)  # of several holders each has a row: those are left apart
    cell = last.start_ns // CELL_NS == (entry.end_ns - 1) // CELL_NS
    return same and whole and cell and last.end_ns == entry.start_ns and entry.method is Method.COUNTER


def _joined(last: Entry, entry: Entry) -> Entry:
    return Entry(
        last.start_ns,
        entry.end_ns,
        entry.device,
        entry.workload,
        entry.state,
        entry.method,
        last.energy_uj + entry.energy_uj,
        max(last.edge_uj, entry.edge_uj),
        last.gpu_ns + entry.gpu_ns,
    )


def _merged(rows: Iterable[Tokens]) -> list[Tokens]:
    """One row a workload, model and phase over the whole time, so that what waits stays bounded."""
    merged: dict[tuple[str, str, str], Tokens] = {}
    for row in rows:
        key = (row.workload, row.model, row.phase)
        old = merged.get(key)
        merged[key] = (
            row
            if old is None
            else replace(
                old,
                start_ns=min(old.start_ns, row.start_ns),
                end_ns=max(old.end_ns, row.end_ns),
                tokens=old.tokens + row.tokens,
            )
        )
    return list(merged.values())


def _merged_steps(rows: Iterable[Steps]) -> list[Steps]:
    """One row a workload and phase over the whole time."""
    merged: dict[tuple[str, str], Steps] = {}
    for row in rows:
        old = merged.get((row.workload, row.phase), row)
        count = row.steps if old is row else old.steps + row.steps
        start_ns, end_ns = min(old.start_ns, row.start_ns), max(old.end_ns, row.end_ns)
        merged[row.workload, row.phase] = replace(old, start_ns=start_ns, end_ns=end_ns, steps=count)
    return list(merged.values())
