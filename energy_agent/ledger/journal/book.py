"""What the journal holds, in memory: the open (unsealed) rows, the facts, the totals; and how a table row becomes one of them.

The book is small: open rows are those of the last hour. A commit computes the changed rows from the book (pure), writes them in
one transaction, and only then takes them over, so a failed commit leaves the book as the disk is.
"""

import json
import sqlite3
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from energy_agent.core.energy import Action, Entry, Gap, Identity, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.errors import JournalError
from energy_agent.core.snapshot import LedgerStats
from energy_agent.ledger.journal import database
from energy_agent.ledger.rows import cells
from energy_agent.ledger.rows.kinds import (
    INT64_MAX,
    PPM,
    Cell,
    CellKey,
    DeviceFacts,
    GapKey,
    GapRow,
    Row,
    Span,
    SpanKey,
    StepKey,
    StepRow,
    TokenKey,
    TokenRow,
)
from energy_agent.ledger.rows.text import canonical
from energy_agent.ledger.rows.totals import ENDED, Tally
from energy_agent.ledger.rows.uncertainty import Run


@dataclass
class Batch:
    """What one commit books, all or nothing. `states` has those that changed, as opaque text; an empty one is removed."""

    entries: Sequence[Entry] = ()
    gaps: Sequence[Gap] = ()
    tokens: Sequence[Tokens] = ()
    actions: Sequence[Action] = ()
    facts: Sequence[WorkloadFacts] = ()
    devices: Sequence[DeviceFacts] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Steps] = ()
    ended: Mapping[str, int] = field(default_factory=dict)
    """Workloads whose totals join those of all that have ended, with the UTC ns: the journal keeps no row of each for good."""


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
    steps: dict[StepKey, StepRow] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # workloads whose facts go with their last open row; UTC ns
    removed: Tally = field(default_factory=Tally)  # of a change: totals that are no more
    returned: set[str] = field(default_factory=set)  # of a change: ended workloads of which there are facts again

    def take(self, change: "Book") -> None:
        """Take over what `change` says, key by key."""
        for name in ("cells", "spans", "gaps", "tokens", "steps", "actions", "workloads", "devices", "states", "ended"):
            getattr(self, name).update(getattr(change, name))
        for workload in change.returned:
            self.ended.pop(workload, None)
        self.states = {device: state for device, state in self.states.items() if state}
        for name in ("energy", "gpu_ns", "tokens", "gap_bound_uj", "steps"):
            totals = getattr(self.totals, name)
            totals.update(getattr(change.totals, name))
            for key in getattr(change.removed, name):
                totals.pop(key, None)

    def largest(self) -> int:
        """The largest number that has to fit int64: how near that is.

        Energy of all time has not: what feeds a building of 10 MW is past int64 in eleven days. Tokens and steps stop at int64:
        what a program reports of itself is no reason to refuse energy.
        """
        energies = (row.energy_uj for row in self.cells.values())
        unseen = (row.bound_uj for row in self.gaps.values())
        bounds = (row.run.bound_uj for part in (self.cells, self.spans) for row in part.values())
        return max([0, *energies, *unseen, *bounds, *self.totals.gpu_ns.values()])  # a row's time is within the totals

    def copy(self) -> "Book":
        """One that can be changed apart from this one."""
        book = Book()
        book.take(self)
        return book

    def open_rows(self) -> list[Row]:
        """The unsealed rows, facts apart."""
        parts: tuple[Iterable[Row], ...] = (
            self.cells.values(),
            self.spans.values(),
            self.gaps.values(),
            self.tokens.values(),
            self.steps.values(),
            self.actions,
        )
        return [row for part in parts for row in part]


def change_of(book: Book, *batches: Batch) -> Book:
    """The rows that batches change, as they are after the last of them. Pure.

    Raises:
        JournalError: an entry that runs backwards or is negative, or energy or time past int64: a broken meter, not booked.
    """
    added, pieces, spans = Tally(), list[cells.Piece](), dict[SpanKey, Span]()
    for batch in batches:
        _add(added, batch)
        cut = cells.pieces(batch.entries)
        pieces += cut
        spans |= cells.fold_spans(ChainMap(spans, book.spans), cut)  # shares of an interval are within one batch
    workloads = {(fact.workload, fact.since_ns): fact for batch in batches for fact in batch.facts}
    devices = {(fact.uuid, fact.since_ns): fact for batch in batches for fact in batch.devices}
    states = {device: state for batch in batches for device, state in batch.states.items()}
    ended = {name: t_ns for batch in batches for name, t_ns in batch.ended.items()}
    if ended:
        added.touch(book.totals, ended.keys() | {ENDED})
    totals = _plus(book.totals, added)
    change = Book(
        cells.fold_cells(book.cells, pieces),
        spans,
        cells.fold_gaps(book.gaps, [gap for batch in batches for gap in batch.gaps]),
        cells.fold_tokens(book.tokens, [count for batch in batches for count in batch.tokens]),
        {action: None for batch in batches for action in batch.actions if action not in book.actions},
        {key: fact for key, fact in workloads.items() if book.workloads.get(key) != fact},
        {key: fact for key, fact in devices.items() if book.devices.get(key) != fact},
        {device: state for device, state in states.items() if book.states.get(device, "") != state},
        totals,
        cells.fold_steps(book.steps, [count for batch in batches for count in batch.steps]),
        ended,
        totals.remove(ended.keys()),
        {name for name, _ in workloads if name in book.ended and name not in ended},
    )
    if change.largest() > INT64_MAX:
        raise JournalError("refused to book: a row would pass int64; a meter is broken")
    return change


def _add(tally: Tally, batch: Batch) -> None:
    for entry in batch.entries:
        _refuse_unsound(entry, min(entry.energy_uj, entry.edge_uj, entry.gpu_ns))
        tally.add_energy((entry.device, entry.workload, entry.state, entry.method), entry.energy_uj, entry.gpu_ns)
    for gap in batch.gaps:
        _refuse_unsound(gap, gap.bound_uj)
        tally.add_gap(gap.device, gap.bound_uj)
    for count in batch.tokens:
        _refuse_unsound(count, count.tokens)
        tally.add_tokens((count.workload, count.model, count.phase), count.tokens)
    for steps in batch.steps:
        _refuse_unsound(steps, steps.steps)
        tally.add_steps((steps.workload, steps.phase), steps.steps)


def _refuse_unsound(item: Entry | Gap | Tokens | Steps, amount: int) -> None:
    if not 0 <= item.start_ns <= item.end_ns or amount < 0:
        raise JournalError(f"refused to book {item!r}: it ends before it starts, or is negative")


def _plus(totals: Tally, added: Tally) -> Tally:
    """The totals of the keys in `added`, afterwards."""
    return Tally(
        {k: totals.energy.get(k, 0) + v for k, v in added.energy.items()},
        {k: totals.gpu_ns.get(k, 0) + v for k, v in added.gpu_ns.items()},
        {k: min(totals.tokens.get(k, 0) + v, INT64_MAX) for k, v in added.tokens.items()},
        {k: totals.gap_bound_uj.get(k, 0) + v for k, v in added.gap_bound_uj.items()},
        {k: min(totals.steps.get(k, 0) + v, INT64_MAX) for k, v in added.steps.items()},
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
    database.put(connection, "steps", [(*k, s.start_ns, s.end_ns, s.steps) for k, s in change.steps.items()])
    actions = [(a.t_ns, a.device, a.policy, a.action, a.setting, a.outcome, a.workload) for a in change.actions]
    database.put(connection, "action", actions)
    facts = [(f.workload, f.since_ns, f.kind, canonical(dict(f.labels))) for f in change.workloads.values()]
    database.put(connection, "workload_fact", facts)
    database.put(connection, "device_fact", [(f.uuid, f.since_ns, f.sku, f.gain_ppm) for f in change.devices.values()])
    database.put(connection, "meter_state", list(change.states.items()))
    connection.execute("DELETE FROM meter_state WHERE state = ''")  # also those that an earlier version left
    totals = change.totals
    database.put(connection, "energy_total", [(d, w, s.value, m.value, str(uj)) for (d, w, s, m), uj in totals.energy.items()])
    database.put(connection, "gpu_total", [(w, s.value, ns) for (w, s), ns in totals.gpu_ns.items()])
    database.put(connection, "token_total", [(*k, n) for k, n in totals.tokens.items()])
    database.put(connection, "step_total", [(*k, n) for k, n in totals.steps.items()])
    database.put(connection, "gap_total", [(device, str(uj)) for device, uj in totals.gap_bound_uj.items()])
    removed = change.removed
    database.remove(connection, "energy_total", [(d, w, s.value, m.value) for d, w, s, m in removed.energy])
    database.remove(connection, "gpu_total", [(w, s.value) for w, s in removed.gpu_ns])
    database.remove(connection, "token_total", list(removed.tokens))
    database.remove(connection, "step_total", list(removed.steps))
    database.put(connection, "ended", list(change.ended.items()))
    database.remove(connection, "ended", [(workload,) for workload in change.returned])


def counted(counts: LedgerStats) -> list[tuple[str, str]]:
    """The rows of `meta` that tell how much was booked."""
    return [("entries", str(counts.entries_total)), ("commits", str(counts.commits_total))]


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
    for values in rows(connection, "steps"):
        steps = StepRow(*values)
        book.steps[steps.key] = steps
    for values in rows(connection, "action"):
        book.actions[Action(*values)] = None
    for workload, since, kind, labels in rows(connection, "workload_fact"):
        book.workloads[workload, since] = WorkloadFacts(workload, since, kind, _labels(labels))
    for device, since, sku, ppm in rows(connection, "device_fact"):
        book.devices[device, since] = DeviceFacts(device, sku, ppm / PPM, since)
    book.states.update((device, state) for device, state in rows(connection, "meter_state") if state)
    totals = book.totals
    totals.energy.update({(d, w, State(s), Method(m)): int(uj) for d, w, s, m, uj in rows(connection, "energy_total")})
    totals.gpu_ns.update({(w, State(s)): ns for w, s, ns in rows(connection, "gpu_total")})
    totals.tokens.update({(w, m, p): n for w, m, p, n in rows(connection, "token_total")})
    totals.steps.update({(w, p): n for w, p, n in rows(connection, "step_total")})
    totals.gap_bound_uj.update((device, int(uj)) for device, uj in rows(connection, "gap_total"))
    book.ended.update(rows(connection, "ended"))
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
