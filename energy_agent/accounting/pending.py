"""Rows that wait for the next commit, merged where that loses nothing, in bounded memory. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from energy_agent.core.boundary import JOURNAL_LOST
from energy_agent.core.energy import Action, Entry, Gap, Method, Steps, Tokens, WorkloadFacts
from energy_agent.core.proof import ProofRow
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts

Row = TypeVar("Row", Tokens, Steps)
_JOINED = (Method.COUNTER, Method.MODELLED)
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
    times: list[Entry] = field(default_factory=list)  # device time on devices without a sensor
    _last: dict[str, int] = field(default_factory=dict)  # device -> its last entry
    _last_time: dict[str, int] = field(default_factory=dict)
    _last_gap: dict[str, int] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Record an entry; one that goes on where the last of its device ended, in the same cell, becomes part of it.

        So ten readings a second cost the journal no more than one.
        """
        _extend(self.entries, self._last, entry)

    def add_time(self, entry: Entry) -> None:
        """Record device time on a device without a sensor, in the same way."""
        _extend(self.times, self._last_time, entry)

    def add_gap(self, gap: Gap) -> None:
        """Record a gap; one that goes on where the last of its device ended, in the same cell, becomes part of it."""
        at = self._last_gap.get(gap.device, len(self.gaps))
        last = self.gaps[at] if at < len(self.gaps) else None
        joins = last is not None and (last.device, last.reason, last.end_ns) == (gap.device, gap.reason, gap.start_ns)
        if last is not None and joins and last.start_ns // CELL_NS == (gap.end_ns - 1) // CELL_NS:
            self.gaps[at] = replace(last, end_ns=gap.end_ns, bound_uj=last.bound_uj + gap.bound_uj)
            return
        self._last_gap[gap.device] = len(self.gaps)
        self.gaps.append(gap)

    def let_go(self) -> bool:
        """Keep what waits bounded: True where the energy rows were too many and are gone, so that meters must step back."""
        if len(self.tokens) >= PENDING_MAX:
            self.tokens = _merged(self.tokens, "tokens", "workload", "model", "phase")
        if len(self.steps) >= PENDING_MAX:
            self.steps = _merged(self.steps, "steps", "workload", "phase")
        if len(self.entries) + len(self.times) < PENDING_MAX:
            return False
        self.gaps = [gap for gap in self.gaps if gap.reason.endswith(JOURNAL_LOST)]  # no later reading brings them again
        self.entries, self.times, self._last, self._last_time, self._last_gap = [], [], {}, {}, {}
        return True


def _extend(entries: list[Entry], places: dict[str, int], entry: Entry) -> None:
    at = places.get(entry.device)
    if at is not None and _continues(entries[at], entry):
        entries[at] = _joined(entries[at], entry)
        return
    places[entry.device] = len(entries)
    entries.append(entry)


def _continues(last: Entry, entry: Entry) -> bool:
    same = (last.workload, last.state, last.method) == (entry.workload, entry.state, entry.method)
    whole = entry.gpu_ns in (0, entry.end_ns - entry.start_ns)  # of several owners each has a row: those are left apart
    cell = last.start_ns // CELL_NS == (entry.end_ns - 1) // CELL_NS
    return same and whole and cell and last.end_ns == entry.start_ns and entry.method in _JOINED


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


def _merged(rows: Iterable[Row], count: str, *key: str) -> list[Row]:
    """One row per `key` over the whole time, so that what waits stays bounded; their `count` is added up."""
    merged: dict[object, Row] = {}
    for row in rows:
        at = attrgetter(*key)(row)
        old = merged.get(at)
        total = getattr(row, count) + (0 if old is None else getattr(old, count))
        start_ns, end_ns = min(row.start_ns, (old or row).start_ns), max(row.end_ns, (old or row).end_ns)
        merged[at] = replace(old or row, start_ns=start_ns, end_ns=end_ns, **{count: total})
    return list(merged.values())
