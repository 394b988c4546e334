"""What the journal holds, in memory: the open (unsealed) rows, the facts, the totals; and how a table row becomes one of them.

The book is small: open rows are those of the last hour. A commit computes the changed rows from the book (pure), writes them in
one transaction, and only then takes them over, so a failed commit leaves the book as the disk is.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from energy_agent.core.errors import JournalError
from energy_agent.core.types import Action, Entry, Gap, Identity, Method, State, Tokens, WorkloadFacts
from energy_agent.ledger import cells, database
from energy_agent.ledger.row_text import canonical
from energy_agent.ledger.rows import (
    PPM,
    Cell,
    CellKey,
    DeviceFacts,
    GapKey,
    GapRow,
    Row,
    Span,
    SpanKey,
    TokenKey,
    TokenRow,
)
from energy_agent.ledger.totals import Tally
from energy_agent.ledger.uncertainty import Run


@dataclass
class Batch:
    """What one commit books, all or nothing. `states` is each device's meter state, opaque text."""

    entries: Sequence[Entry] = ()
    gaps: Sequence[Gap] = ()
    tokens: Sequence[Tokens] = ()
    actions: Sequence[Action] = ()
    facts: Sequence[WorkloadFacts] = ()
    devices: Sequence[DeviceFacts] = ()
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Book:
    """The open rows by key, the facts by (name, since), the meter states and the totals."""

    cells: dict[CellKey, Cell] = field(default_factory=dict)
    spans: dict[SpanKey, Span] = field(default_factory=dict)
    gaps: dict[GapKey, GapRow] = field(default_factory=dict)
    tokens: dict[TokenKey, TokenRow] = field(default_factory=dict)
    actions: dict[Action, None] = field(default_factory=dict)
    workloads: dict[tuple[str, int], WorkloadFacts] = field(default_factory=dict)
    devices: dict[tuple[str, int], DeviceFacts] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    totals: Tally = field(default_factory=Tally)

    def take(self, change: "Book") -> None:
        """Take over what `change` says, key by key."""
        for name in ("cells", "spans", "gaps", "tokens", "actions", "workloads", "devices", "states"):
            getattr(self, name).update(getattr(change, name))
        for name in ("energy", "gpu_ns", "tokens", "gap_bound_uj"):
            getattr(self.totals, name).update(getattr(change.totals, name))

    def open_rows(self) -> list[Row]:
        """The unsealed rows, facts apart."""
        parts: tuple[Iterable[Row], ...] = (
            self.cells.values(),
            self.spans.values(),
            self.gaps.values(),
            self.tokens.values(),
            self.actions,
        )
        return [row for part in parts for row in part]


def change_of(book: Book, batch: Batch) -> Book:
    """The rows that a batch changes, as they are afterwards. Pure.

    Raises:
        JournalError: an entry that runs backwards or is negative, or a total past int64: a broken meter, not booked.
    """
    stretches: list[Entry | Gap | Tokens] = [*batch.entries, *batch.gaps, *batch.tokens]
    for item in stretches:
        if item.end_ns < item.start_ns or item.start_ns < 0:
            raise JournalError(f"refused to book {item!r}: it ends before it starts")
    pieces = [piece for entry in batch.entries for piece in _cut(entry)]
    added = Tally()
    for entry in batch.entries:
        added.add_energy((entry.device, entry.workload, entry.state, entry.method), entry.energy_uj, entry.gpu_ns)
    for gap in batch.gaps:
        added.add_gap(gap.device, gap.bound_uj)
    for count in batch.tokens:
        added.add_tokens((count.workload, count.model, count.phase), count.tokens)
    totals = _plus(book.totals, added)
    if totals.overflow():
        raise JournalError("refused to book: a total would pass int64; a meter is broken")
    return Book(
        cells.fold_cells(book.cells, pieces),
        cells.fold_spans(book.spans, pieces),
        cells.fold_gaps(book.gaps, batch.gaps),
        cells.fold_tokens(book.tokens, batch.tokens),
        {action: None for action in batch.actions if action not in book.actions},
        {(f.workload, f.since_ns): f for f in batch.facts if book.workloads.get((f.workload, f.since_ns)) != f},
        {(f.uuid, f.since_ns): f for f in batch.devices if book.devices.get((f.uuid, f.since_ns)) != f},
        {device: state for device, state in batch.states.items() if book.states.get(device) != state},
        totals,
    )


def _cut(entry: Entry) -> list[cells.Piece]:
    try:
        return cells.cut(entry)
    except ValueError as error:
        raise JournalError(f"refused to book {entry!r}: {error}") from None


def _plus(totals: Tally, added: Tally) -> Tally:
    """The totals of the keys in `added`, afterwards."""
    return Tally(
        {k: totals.energy.get(k, 0) + v for k, v in added.energy.items()},
        {k: totals.gpu_ns.get(k, 0) + v for k, v in added.gpu_ns.items()},
        {k: totals.tokens.get(k, 0) + v for k, v in added.tokens.items()},
        {k: totals.gap_bound_uj.get(k, 0) + v for k, v in added.gap_bound_uj.items()},
    )


def write(connection: sqlite3.Connection, change: Book) -> None:
    """Write changed rows, within the caller's transaction."""
    database.put(
        connection,
        "cell",
        [(*k[:3], k[3].value, k[4].value, c.energy_uj, c.gpu_ns, *_run(c.run)) for k, c in change.cells.items()],
    )
    database.put(connection, "span", [(*k, *_run(s.run)) for k, s in change.spans.items()])
    database.put(connection, "gap", [(*k, g.start_ns, g.end_ns, g.bound_uj) for k, g in change.gaps.items()])
    database.put(connection, "tokens", [(*k, t.start_ns, t.end_ns, t.tokens) for k, t in change.tokens.items()])
    actions = [(a.t_ns, a.device, a.policy, a.action, a.setting, a.outcome, a.workload) for a in change.actions]
    database.put(connection, "action", actions)
    facts = [(f.workload, f.since_ns, f.kind, canonical(dict(f.labels))) for f in change.workloads.values()]
    database.put(connection, "workload_fact", facts)
    database.put(connection, "device_fact", [(f.uuid, f.since_ns, f.sku, f.gain_ppm) for f in change.devices.values()])
    database.put(connection, "meter_state", list(change.states.items()))
    totals = change.totals
    database.put(connection, "energy_total", [(d, w, s.value, m.value, uj) for (d, w, s, m), uj in totals.energy.items()])
    database.put(connection, "gpu_total", [(w, s.value, ns) for (w, s), ns in totals.gpu_ns.items()])
    database.put(connection, "token_total", [(*k, n) for k, n in totals.tokens.items()])
    database.put(connection, "gap_total", list(totals.gap_bound_uj.items()))


def _run(run: Run) -> tuple[int, ...]:
    return (run.start_ns, run.end_ns, run.first_uj, run.inner_uj, run.last_uj, run.last_ppm)


def read(connection: sqlite3.Connection) -> Book:
    """The book as the database holds it.

    Raises:
        sqlite3.Error: it cannot be read.
        ValueError, TypeError: a row does not make sense; the database is torn.
    """
    book, rows = Book(), database.all_rows
    for start, device, workload, state, method, uj, ns, *run in rows(connection, "cell"):
        cell = Cell(start, device, workload, State(state), Method(method), uj, ns, Run(*run))
        book.cells[cell.key] = cell
    for start, device, workload, *run in rows(connection, "span"):
        book.spans[start, device, workload] = Span(start, device, workload, Run(*run))
    for values in rows(connection, "gap"):
        gap = GapRow(*values)
        book.gaps[gap.key] = gap
    for values in rows(connection, "tokens"):
        count = TokenRow(*values)
        book.tokens[count.key] = count
    for values in rows(connection, "action"):
        book.actions[Action(*values)] = None
    for workload, since, kind, labels in rows(connection, "workload_fact"):
        book.workloads[workload, since] = WorkloadFacts(workload, since, kind, _labels(labels))
    for device, since, sku, ppm in rows(connection, "device_fact"):
        book.devices[device, since] = DeviceFacts(device, sku, ppm / PPM, since)
    book.states.update(rows(connection, "meter_state"))
    totals = book.totals
    totals.energy.update({(d, w, State(s), Method(m)): uj for d, w, s, m, uj in rows(connection, "energy_total")})
    totals.gpu_ns.update({(w, State(s)): ns for w, s, ns in rows(connection, "gpu_total")})
    totals.tokens.update({(w, m, p): n for w, m, p, n in rows(connection, "token_total")})
    totals.gap_bound_uj.update(rows(connection, "gap_total"))
    return book


def _labels(text: str) -> dict[str, str]:
    value: Any = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("labels")
    return value


def identity_of(meta: Mapping[str, str]) -> Identity:
    """Who wrote the journal, from its `meta` table. Raises KeyError where that is torn."""
    simulated = {"True": True, "False": False}[meta["simulated"]]
    return Identity(meta["cluster"], meta["node"], meta["boot_id"], meta["version"], simulated)
