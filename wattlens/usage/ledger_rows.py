"""Rows of an agent's state folder, or of folders of segments. Reading them needs no optional package.

Rows become day sums by the code that compaction uses (energy_agent/ledger/fleet/day_sums.py), and `sums` adds those up.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import UsageError
from energy_agent.ledger import chain
from energy_agent.ledger.fleet.day_sums import NodeDay
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import JOURNAL_NAME, no_ledger
from energy_agent.ledger.rows.kinds import Row
from energy_agent.ledger.segments import segment, table
from wattlens.usage.job_address import JobAddress
from wattlens.usage.record import Columns, EnergyRecord, day_of, rows_of

_SUMMED: Final = ("cell", "time", "span", "gap")
_ROWS: Final = ("gap", "tokens", "steps", "phase")
_LABELS: Final = ("workload", "since_ns", "workload_kind", "labels")


@dataclass(frozen=True, slots=True)
class SegmentColumns:
    """A segment's rows by kind, or those that are not sealed yet."""

    cluster: str
    node: str
    simulated: bool
    sequence: int
    kinds: Mapping[str, Columns]


def read_ledger(source: Path, start_ns: int, end_ns: int, address: JobAddress | None = None) -> EnergyRecord:
    """What a ledger holds within [start_ns, end_ns), edges of cells: all, or rows of one job and of whole devices.

    Raises:
        UsageError: the source is not a ledger.
        ChainError, JournalError: the ledger is damaged.
    """
    record = EnergyRecord(f"ledger {source}", start_ns, end_ns)
    adder = SegmentAdder(record, address)
    for part in read_segments(source, record):
        adder.add(part)
    adder.finish()
    return record


@dataclass(slots=True)
class SegmentAdder:
    """Adds segments to a record; those of a node come in their order."""

    record: EnergyRecord
    address: JobAddress | None = None
    _days: dict[tuple[str, str, int], NodeDay] = field(default_factory=dict)
    _facts: dict[tuple[Any, ...], int] = field(default_factory=dict)  # which every segment repeats -> their first segment

    def add(self, part: SegmentColumns) -> None:
        """Add a segment."""
        self.record.simulated |= part.simulated
        members = set[str]()
        for workload, since_ns, kind, text in rows_of(part.kinds["workload"], *_LABELS) if "workload" in part.kinds else ():
            if self.address is None or self.address.matches(workload, kind, json.loads(text)):
                members.add(workload)
                self._facts.setdefault((part.cluster, part.node, workload, since_ns, kind, text), part.sequence)
        kinds = part.kinds if self.address is None else _select(part.kinds, members)
        for day_ns, of_day in self._by_day(kinds).items():
            key = part.cluster, part.node, day_ns
            if key not in self._days:
                self._days[key] = NodeDay(part.cluster, part.node)
            self._days[key].add(of_day)
            for kind in _ROWS:
                if kind in of_day:
                    self.record.add(kind, of_day[kind], day_ns=day_ns, cluster=part.cluster, node=part.node)
        if "device" in kinds:
            same = {"cluster": part.cluster, "node": part.node, "sequence": part.sequence}
            self.record.add("device", kinds["device"], **same)

    def finish(self) -> None:
        """Add the day sums of all segments, and the labels of workloads."""
        for key in list(self._days):
            for kind, columns in self._days.pop(key).columns().items():
                self.record.add(kind, columns, day_ns=key[2])
        for (*owner, since_ns, kind, labels), sequence in self._facts.items():
            self.record.add_labels((owner[0], owner[1], owner[2]), since_ns, kind, labels, sequence)

    def _by_day(self, kinds: Mapping[str, Columns]) -> dict[int, dict[str, Columns]]:
        """Rows of the period by UTC day."""
        by_day: dict[int, dict[str, Columns]] = {}
        for kind in dict.fromkeys((*_SUMMED, *_ROWS)):
            if kind not in kinds:
                continue
            places: dict[int, list[int]] = {}
            for place, cell_ns in enumerate(kinds[kind]["cell_start_ns"]):
                if self.record.start_ns <= cell_ns < self.record.end_ns:
                    places.setdefault(day_of(cell_ns), []).append(place)
            for day_ns, chosen in places.items():
                by_day.setdefault(day_ns, {})[kind] = _pick(kinds[kind], chosen)
        return by_day


def _select(kinds: Mapping[str, Columns], members: set[str]) -> dict[str, Columns]:
    """Rows of these workloads, with spans of whole devices, and all rows that have no workload."""
    selected = dict(kinds)
    for kind, columns in kinds.items():
        if "workload" in columns:
            names = members | {""} if kind == "span" else members
            selected[kind] = _pick(columns, [at for at, name in enumerate(columns["workload"]) if name in names])
    return {kind: columns for kind, columns in selected.items() if len(next(iter(columns.values())))}


def _pick(columns: Columns, places: list[int]) -> Columns:
    return {name: [values[place] for place in places] for name, values in columns.items()}


def read_segments(source: Path, record: EnergyRecord) -> Iterator[SegmentColumns]:
    """Segments that reach into the period, then what is not sealed."""
    if source.is_file() and not source.name.endswith(segment.SUFFIX):
        raise UsageError(
            f"{source}: expected an agent's state folder, ledger segments (*{segment.SUFFIX}) or compacted days, "
            "got another file"
        )
    if not (source / JOURNAL_NAME).exists():
        files = chain.find([source])
        if not files:
            raise no_ledger(source)
        for path in files:
            yield from _read_file(path, record)
        return
    # The journal is read first: what it calls sealed is then surely there, and what is sealed later is not read twice.
    view = read_journal(source / JOURNAL_NAME)
    for entry in view.segments:
        if entry.body is None:
            yield from _read_file(source / "segments" / entry.name, record)
            continue
        read = table.decode(segment.expand(entry.body, entry.name), entry.name)
        record.cover(read.header.from_ns, read.header.to_ns)
        yield _columns(read)
    rows: list[Row] = [*view.book.open_rows(), *view.book.facts.values()]
    kinds = table.columns_of(rows)
    for kind in _SUMMED:
        if kind in kinds:
            record.cover(min(kinds[kind]["start_ns"]), max(kinds[kind]["end_ns"]))
    latest = max((entry.sequence for entry in view.segments), default=0) + 1
    yield SegmentColumns(view.identity.cluster, view.identity.node, view.identity.simulated, latest, kinds)


def _read_file(path: Path, record: EnergyRecord) -> Iterator[SegmentColumns]:
    """A segment that reaches into the period."""
    header = segment.peek(path)
    record.cover(header.from_ns, header.to_ns)
    if header.to_ns > record.start_ns and header.from_ns < record.end_ns:
        yield _columns(table.read(path))


def _columns(read: table.SegmentTable) -> SegmentColumns:
    header = read.header
    return SegmentColumns(header.cluster, header.node, header.simulated, header.sequence, read.columns)
