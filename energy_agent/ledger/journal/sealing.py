"""Choose the content of the next segment, and where a new journal continues the chain. The journal writes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energy_agent.core.boundary import is_meter
from energy_agent.core.energy import Identity, WorkloadFacts
from energy_agent.core.errors import ChainError
from energy_agent.core.meters.facility import METER_GONE
from energy_agent.ledger.journal.book import Book
from energy_agent.ledger.rows.kinds import CELL_NS, KINDS, Cell, GapRow, Key, Row, key_of, kind_of
from energy_agent.ledger.rows.totals import Tally
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.segment import Content, Header, Signer


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A finished segment and the open rows it takes."""

    header: Header
    body: bytes  # compressed
    sha256: str
    rows: tuple[Row, ...]


def _start_ns(row: Row) -> int:
    return kind_of(row).start_ns(row)


def _end_ns(row: Row) -> int:
    return kind_of(row).end_ns(row)


def take(
    book: Book, up_to_ns: int | None, identity: Identity, sequence: int, previous: str, signer: Signer | None = None
) -> SealedSegment | None:
    """Create the next segment: open rows that end by `up_to_ns` (None: all), with the metadata valid for what they name.

    Rows that end too late to share a segment with the earliest row go into the following segment.
    """
    rows = [row for row in book.open_rows() if up_to_ns is None or _end_ns(row) <= up_to_ns]
    if not rows:
        return None
    earliest = min(rows, key=_start_ns)
    last_ns = max(_end_ns(earliest), _start_ns(earliest) + segment.SPAN_MAX_NS)
    rows = [row for row in rows if _end_ns(row) <= last_ns]
    from_ns, to_ns = min(map(_start_ns, rows)), max(map(_end_ns, rows))
    facts = list(_in_force(book.facts, _named(book, rows), from_ns, to_ns))
    header = Header(
        schema=segment.SCHEMA,
        cluster=identity.cluster,
        node=identity.node,
        boot_id=identity.boot_id,
        sequence=sequence,
        previous=previous,
        version=identity.version,
        simulated=identity.simulated,
        from_ns=from_ns,
        to_ns=to_ns,
        rows=len(rows) + len(facts),
    )
    data = segment.encode(header, [*rows, *facts], signer)
    return SealedSegment(header, segment.compress(data), segment.sha256(data), tuple(rows))


def _workloads(rows: Iterable[Row]) -> set[str]:
    return {row.workload for row in rows if hasattr(row, "workload")}


def _named(book: Book, rows: Iterable[Row]) -> dict[str, set[str]]:
    """What a segment names, by the kind of the facts that go with it."""
    devices = {row.device for row in rows if hasattr(row, "device")}
    # Meters that are no more have no rows that could carry it.
    gone = {fact.workload for fact in book.facts_of("workload") if fact.kind == METER_GONE}
    return dict.fromkeys(KINDS, devices) | {"workload": _workloads(rows) | devices | gone}


def _in_force(facts: Mapping[Key, Row], named: Mapping[str, set[str]], from_ns: int, to_ns: int) -> Iterator[Row]:
    """Of each name the facts that begin within the segment, and the last that began before it."""
    by_name: dict[tuple[Any, ...], list[int]] = {}
    for kind, name, since_ns in facts:
        if name in named[kind]:
            by_name.setdefault((kind, name), []).append(since_ns)
    for name, instants in by_name.items():
        before = max((t for t in instants if t <= from_ns), default=None)
        # What was learnt only after the rows is still the best that is known of them.
        first = min(instants) if before is None else before
        for t in instants:
            if t == first or from_ns < t <= to_ns:
                yield facts[(*name, t)]


@dataclass(frozen=True, slots=True)
class Obsolete:
    """Facts that no segment after this one needs, by key, and ended workloads of which nothing is left."""

    facts: tuple[Key, ...]
    ended: tuple[str, ...]


def find_obsolete(book: Book, sealed: SealedSegment) -> Obsolete:
    """Facts of workloads that have ended and have no open row, and facts that later ones replaced before all open rows.

    Of a workload whose owner changed both facts are kept: its energy stays with the first owner.
    """
    taken = set(map(key_of, sealed.rows))
    rows = [row for key, row in book.rows.items() if key not in taken]
    ended = book.ended.keys() - _workloads(rows)
    settled_ns = min([sealed.header.to_ns, *map(_start_ns, rows)]) - CELL_NS
    facts = []
    later: dict[str, WorkloadFacts] = {}
    for fact in sorted(book.facts_of("workload"), key=lambda fact: fact.since_ns, reverse=True):
        next_fact = later.get(fact.workload)
        is_replaced = (
            next_fact is not None
            and next_fact.since_ns <= settled_ns
            and next_fact.labels.get("owner") == fact.labels.get("owner")
        )
        if fact.workload in ended or (is_replaced and not is_meter(fact.workload)):
            facts.append(key_of(fact))
        later[fact.workload] = fact
    return Obsolete(tuple(facts), tuple(ended))


@dataclass(slots=True)
class ChainPosition:
    """Where a new database takes up the chain of the segments that are on disk; `later` are those from number `since` on.

    `ends` has each device with the UTC ns at which its last row ends.
    """

    sequence: int = 0
    previous: str = segment.FIRST_PREVIOUS
    first: int = 0
    totals: Tally = field(default_factory=Tally)
    segment_rows: list[tuple[Any, ...]] = field(default_factory=list)
    later: list[Content] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: Path, identity: Identity, since: int) -> "ChainPosition":
        """Read this node's segments; a damaged one is skipped, `ledger verify` names it; its number is not used again."""
        taken, numbers = cls(), []
        prefix = segment.file_name(identity.cluster, identity.node, 0).removesuffix(f"00000000{segment.SUFFIX}")
        for path in segment.list_files(folder) if folder.is_dir() else []:
            digits = path.name.removeprefix(prefix).removesuffix(segment.SUFFIX)
            if not path.name.startswith(prefix) or not digits.isdecimal():
                continue
            numbers.append(int(digits))
            try:
                content = segment.read(path)
            except ChainError:
                continue
            header = content.header
            if (header.cluster, header.node, header.sequence) != (identity.cluster, identity.node, int(digits)):
                continue
            taken.totals.add_rows(content.rows)
            note_ends(taken.ends, content.rows)
            if header.sequence >= since:
                taken.later.append(content)
            taken.previous = content.sha256
            row = (header.sequence, path.name, content.sha256, header.previous, header.from_ns, header.to_ns, header.rows)
            taken.segment_rows.append((*row, "sealed", 0, None))
        taken.sequence, taken.first = max(numbers, default=-1) + 1, min(numbers, default=0)
        return taken


def note_ends(ends: dict[str, int], rows: Iterable[Row]) -> None:
    """Move the end of each device's recorded time to that of its last row among `rows`."""
    for row in rows:
        if isinstance(row, Cell | GapRow):
            ends[row.device] = max(_end_ns(row), ends.get(row.device, 0))
