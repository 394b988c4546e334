"""The journal's content in memory: open (unsealed) rows, facts, states of components, and totals. Pure.

The book is small: open rows are those of the last hour. A commit computes its changes, appends its batch to the log, and only
then applies the changes, so a failed commit leaves the book equal to the disk.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from energy_agent.core.boundary import CLOCK_WENT_BACK, CLOCK_WENT_BACK_BETWEEN, is_meter
from energy_agent.core.energy import Action, Entry, Gap, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.errors import JournalError
from energy_agent.core.saved_state import States, apply_changes
from energy_agent.ledger.rows import cells
from energy_agent.ledger.rows.kinds import CELL_NS, INT64_MAX, DeviceFacts, GapRow, Key, Row, fold, key_of, kind_of
from energy_agent.ledger.rows.text import RUNS, from_json, to_json
from energy_agent.ledger.rows.totals import ENDED, SUMS, Tally


@dataclass
class Batch:
    """What one commit records, all or nothing. `states` has those that changed; an empty state is removed."""

    entries: Sequence[Entry] = ()
    gaps: Sequence[Gap] = ()
    tokens: Sequence[Tokens] = ()
    actions: Sequence[Action] = ()
    facts: Sequence[WorkloadFacts] = ()
    devices: Sequence[DeviceFacts] = ()
    states: States = field(default_factory=dict)
    steps: Sequence[Steps] = ()
    ended: Mapping[str, int] = field(default_factory=dict)
    """Workloads whose totals join those of all that have ended, with the UTC ns: the journal keeps no row of each for good."""
    rows: Sequence[Row] = ()
    """Rows of any other kind, as they are to stand in the ledger: within one cell each."""

    def ledger_rows(self) -> Iterator[Row]:
        """All of it as rows of the ledger.

        Raises:
            JournalError: something runs backwards or is negative: a broken meter, not recorded.
        """
        for entry in self.entries:
            _refuse_unsound(entry, min(entry.energy_uj, entry.edge_uj, entry.gpu_ns))
        for gap in self.gaps:
            _refuse_unsound(gap, gap.bound_uj)
        for count in self.tokens:
            _refuse_unsound(count, count.tokens)
        for steps in self.steps:
            _refuse_unsound(steps, steps.steps)
        yield from cells.entry_rows(self.entries)
        yield from cells.gap_rows(self.gaps)
        yield from cells.token_rows(self.tokens)
        yield from cells.step_rows(self.steps)
        yield from self.actions
        yield from self.facts
        yield from self.devices
        for row in self.rows:
            kind = kind_of(row)
            if min(kind.counts(row)) < 0 or kind.end_ns(row) < kind.start_ns(row):
                raise JournalError(f"cannot record {row!r}: it ends before it starts, or is negative")
            yield row


def _refuse_unsound(item: Entry | Gap | Tokens | Steps, amount: int) -> None:
    if not 0 <= item.start_ns <= item.end_ns or amount < 0:
        raise JournalError(f"cannot record {item!r}: it ends before it starts, or is negative")


@dataclass
class BookChange:
    """What a batch changes: rows and facts as they are afterwards, sums of their keys, and what is no more."""

    rows: dict[Key, Row]
    facts: dict[Key, Row]
    states: States
    totals: Tally
    removed: Tally
    ended: Mapping[str, int]
    returned: set[str]  # ended workloads of which there are facts again
    ends: Mapping[str, int]
    went_back: bool  # UTC was set back: the rows so far belong into a segment of their own


@dataclass
class Book:
    """The open rows and the facts by key, the states by component and key, and the totals."""

    rows: dict[Key, Row] = field(default_factory=dict)
    facts: dict[Key, Row] = field(default_factory=dict)
    states: dict[str, dict[str, str]] = field(default_factory=dict)
    totals: Tally = field(default_factory=Tally)
    ended: dict[str, int] = field(default_factory=dict)  # workloads whose facts go with their last open row; UTC ns
    ends: dict[str, int] = field(default_factory=dict)  # where each device's time ends, UTC ns; "": the latest of all
    entries: int = 0
    commits: int = 0

    def add(self, batch: Batch) -> None:
        """Take a batch in. Raises JournalError, with nothing of it in."""
        self.take(change_of(self, batch))
        self.count(batch)

    def take(self, change: BookChange) -> None:
        """Take over what `change` says, key by key."""
        self.rows.update(change.rows)
        self.facts.update(change.facts)
        apply_changes(self.states, change.states)
        for name, part in change.totals.sums.items():
            totals = self.totals.sums[name]
            totals.update(part)
            for key in change.removed.sums[name]:
                totals.pop(key, None)
        self.ended.update(change.ended)
        self.ends.update(change.ends)
        for workload in change.returned:
            self.ended.pop(workload, None)

    def count(self, batch: Batch) -> None:
        """One commit more."""
        self.entries, self.commits = self.entries + len(batch.entries), self.commits + 1

    def without(self, rows: Sequence[Row], facts: Sequence[Key] = (), ended: Sequence[str] = ()) -> "Book":
        """Another book, in which these are no more; the totals are the same ones."""
        book = replace(self, rows=dict(self.rows), facts=dict(self.facts), ended=dict(self.ended))
        for row in rows:
            book.rows.pop(key_of(row), None)
        for key in facts:
            del book.facts[key]
        for workload in ended:
            del book.ended[workload]
        return book

    def open_rows(self) -> list[Row]:
        """The unsealed rows, facts apart."""
        return list(self.rows.values())

    def facts_of(self, kind: str) -> list[Any]:
        """The facts of one kind."""
        return [fact for key, fact in self.facts.items() if key[0] == kind]


def change_of(book: Book, batch: Batch) -> BookChange:
    """What a batch changes in the book. Pure.

    Raises:
        JournalError: something of it runs backwards or is negative, or a row passes int64: a broken meter, not recorded.
    """
    facts, added = list[Row](), Tally()
    ends, begun = _ends(book.ends, batch.entries)
    rows = list[Row]()
    for row in itertools.chain(batch.ledger_rows(), begun):
        if kind_of(row).is_fact:
            facts.append(row)
        else:
            rows.append(row)
            added.add(row)
    changed = fold(book.rows, rows)
    changed_facts = {key: fact for key, fact in fold(book.facts, facts).items() if book.facts.get(key) != fact}
    named = {fact.workload for fact in batch.facts}
    if batch.ended:
        added.touch(book.totals, batch.ended.keys() | {ENDED})
    totals = _afterwards(book.totals, added)
    removed = totals.remove(batch.ended.keys())
    largest = max((max(kind_of(row).numbers(row)) for part in (changed, changed_facts) for row in part.values()), default=0)
    # A row's time is within the totals. Energy of all time is not bounded: what feeds a building of 10 MW passes int64 in days.
    if max([largest, *totals.sums["gpu_ns"].values()]) > INT64_MAX:
        raise JournalError("cannot record: a row would exceed int64; a meter is faulty")
    returned = {name for name in named if name in book.ended and name not in batch.ended}
    return BookChange(changed, changed_facts, batch.states, totals, removed, batch.ended, returned, ends, bool(begun))


def _ends(ends: Mapping[str, int], entries: Iterable[Entry]) -> tuple[dict[str, int], list[GapRow]]:
    """Where the time of devices ends after entries, and a gap wherever it begins again: readers expect time to go on.

    Meters of buildings may be read late, from files: theirs begins again only where an interval was recorded before.
    """
    after, begun = dict[str, int](), list[GapRow]()
    for device, start_ns, end_ns in dict.fromkeys((e.device, e.start_ns, e.end_ns) for e in entries):
        latest_ns = after.get(_ALL, ends.get(_ALL, 0))
        late = end_ns < latest_ns - LATE_NS and not is_meter(device)
        if late or start_ns < after.get(device, ends.get(device, 0)):
            reason = CLOCK_WENT_BACK_BETWEEN if device in after else CLOCK_WENT_BACK
            begun.append(GapRow(cells.cell_start(start_ns), device, reason, start_ns, start_ns, 0))
            after[device] = end_ns
        else:
            after[device] = max(end_ns, after.get(device, ends.get(device, 0)))
        after[_ALL] = end_ns if late else max(end_ns, latest_ns)
    return after, begun


def _afterwards(totals: Tally, added: Tally) -> Tally:
    """The totals of the keys in `added`, with it."""
    tally = Tally()
    for name, part in added.sums.items():
        before, stops = totals.sums[name], SUMS[name].stops
        for key, amount in part.items():
            total = before.get(key, 0) + amount
            tally.sums[name][key] = min(total, INT64_MAX) if stops else total
    return tally


_LAST_PPM: Final = "last_ppm"
_ALL: Final = ""
LATE_NS: Final = CELL_NS
"""Rows of a device may come so much later than those of others: a node's meter answers late."""


def to_text(book: Book) -> dict[str, Any]:
    """The book as an object of JSON: `from_text` gives it back."""
    return {
        "rows": [_row_text(row) for row in book.rows.values()],
        "facts": [to_json(fact) for fact in book.facts.values()],
        "states": book.states,
        "totals": {
            name: [[*(key if isinstance(key, tuple) else (key,)), n] for key, n in part.items()]
            for name, part in book.totals.sums.items()
        },
        "ended": book.ended,
        "ends": book.ends,
        "entries": book.entries,
        "commits": book.commits,
    }


def _row_text(row: Row) -> dict[str, Any]:
    """As in a segment, and the share at the end of a run, which decides what cancels with the row's next part."""
    body = to_json(row)
    return body | {_LAST_PPM: row.run.last_ppm} if body["kind"] in RUNS else body


def from_text(body: Any) -> Book:
    """The book of `to_text`.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, ChainError: `body` is damaged.
    """
    book = Book(entries=int(body["entries"]), commits=int(body["commits"]))
    for value in body["rows"]:
        ppm = value.pop(_LAST_PPM, None)
        row = from_json(value)
        if ppm is not None:
            row = replace(row, run=replace(row.run, last_ppm=int(ppm)))
        book.rows[key_of(row)] = row
    for value in body["facts"]:
        fact = from_json(value)
        book.facts[key_of(fact)] = fact
    for component, texts in body["states"].items():
        book.states[str(component)] = {str(key): str(text) for key, text in texts.items()}
    book.ends.update({str(name): int(t_ns) for name, t_ns in body["ends"].items()})
    book.ended.update({str(name): int(t_ns) for name, t_ns in body["ended"].items()})
    for name, rows in body["totals"].items():
        part = book.totals.sums.setdefault(str(name), {})
        for *key, amount in rows:
            part[total_key(str(name), key)] = int(amount)
    return book


def total_key(name: str, key: Sequence[str]) -> Any:
    """The key of a total whose parts were read as text. Raises ValueError or KeyError: it is damaged."""
    of = SUMS[name]
    if len(key) != len(of.key):
        raise ValueError(f"expected {len(of.key)} parts in a key of {name}")
    parts = tuple(_REVIVE.get(part, str)(value) for part, value in zip(of.key, key, strict=True))
    return parts if len(parts) > 1 else parts[0]


_REVIVE: Final[Mapping[str, Any]] = {"state": State, "method": Method}


def dumps(value: object) -> str:
    """JSON text without spaces. Not ASCII alone: a lone surrogate, which no format could store, fails where it is written."""
    return _ENCODE(value)


_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
