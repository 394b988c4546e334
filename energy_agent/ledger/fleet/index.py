"""Index of segments by day: each header is read once for all requested days.

The chains are checked as far as headers allow: missing or duplicate numbers, unreadable files, and files with another name in
their header. Readers of whole files check hashes and rows. Each file of a day states what the next file names as its previous.

A fault belongs to one node and some days: those of the file or, where its header cannot be read, those between the segment
before it and the segment after it. Other nodes and days do not depend on it.
"""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from energy_agent.core.errors import ChainError, UsageError
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger import chain
from energy_agent.ledger.chain import Chain, ChainFault, Progress
from energy_agent.ledger.journal.book import LATE_NS
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.segment import Header
from energy_agent.ledger.signing import Keys

DAY_NS: Final = NS_PER_DAY


class IndexedSegment(NamedTuple):
    """One segment, from its header. `follower` is the file with the next number, `names` the previous hash in that file."""

    path: str
    sequence: int
    from_ns: int
    to_ns: int
    previous: str
    follower: str = ""
    names: str = ""


class IndexedFault(NamedTuple):
    """A fault, of which node (the prefix of its file names, "" where no name says) and of which days, by their numbers."""

    fault: ChainFault
    prefix: str
    first: int = 0
    last: int = INT64_MAX // DAY_NS


@dataclass(slots=True)
class Index:
    """Segments in the order of nodes and their numbers. Kept small: a fleet's quarter has three million."""

    findings: list[IndexedFault] = field(default_factory=list)
    _prefixes: list[str] = field(default_factory=list)
    _folders: list[str] = field(default_factory=list)
    _node: "array[int]" = field(default_factory=lambda: array("l"))
    _folder: "array[int]" = field(default_factory=lambda: array("l"))
    _sequence: "array[int]" = field(default_factory=lambda: array("q"))
    _from_ns: "array[int]" = field(default_factory=lambda: array("q"))
    _to_ns: "array[int]" = field(default_factory=lambda: array("q"))
    _previous: bytearray = field(default_factory=bytearray)  # 32 bytes each
    _of_day: "dict[int, array[int]]" = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._sequence)

    @property
    def faults(self) -> list[ChainFault]:
        """All that is wrong."""
        return [finding.fault for finding in self.findings]

    def findings_of(self, day: date) -> list[IndexedFault]:
        """What is wrong with a day's segments, or with some of which nobody knows the day."""
        number = start_ns(day) // DAY_NS
        return [finding for finding in self.findings if finding.first <= number <= finding.last]

    @property
    def days(self) -> list[date]:
        """The UTC days that segments touch."""
        return [datetime.fromtimestamp(number * 86_400, UTC).date() for number in sorted(self._of_day)]

    def of_day(self, day: date) -> list[list[IndexedSegment]]:
        """A day's segments, each node's by themselves, in the order of its chain."""
        positions = self._of_day.get(start_ns(day) // DAY_NS, ())
        return [[self._entry(i) for i in group] for _, group in groupby(positions, key=lambda i: self._node[i])]

    def count(self, days: Iterable[date]) -> int:
        """How many files these days read."""
        return sum(len(self._of_day.get(start_ns(day) // DAY_NS, ())) for day in days)

    def _path(self, i: int) -> str:
        name = f"{self._prefixes[self._node[i]]}_{self._sequence[i]:08d}{segment.SUFFIX}"
        return os.path.join(self._folders[self._folder[i]], name)  # noqa: PTH118

    def _names(self, i: int) -> str:
        return self._previous[32 * i : 32 * i + 32].hex()

    def _entry(self, i: int) -> IndexedSegment:
        fields = (self._path(i), self._sequence[i], self._from_ns[i], self._to_ns[i], self._names(i))
        after = i + 1
        if after < len(self) and self._node[after] == self._node[i] and self._sequence[after] == self._sequence[i] + 1:
            return IndexedSegment(*fields, self._path(after), self._names(after))
        return IndexedSegment(*fields)

    def _add(self, folder: int, header: Header) -> None:
        i = len(self)
        self._node.append(len(self._prefixes) - 1)
        self._folder.append(folder)
        self._sequence.append(header.sequence)
        self._from_ns.append(header.from_ns)
        self._to_ns.append(header.to_ns)
        self._previous += bytes.fromhex(header.previous)
        first, last = _days_of(header)
        for number in range(first, last + 1):
            self._of_day.setdefault(number, array("l")).append(i)


def _days_of(header: Header) -> tuple[int, int]:
    """The first and last day that a segment touches; of a span that is too long the days of its last year."""
    last_ns = max(header.from_ns, header.to_ns - 1)
    return max(header.from_ns, last_ns - segment.SPAN_MAX_NS) // DAY_NS, last_ns // DAY_NS


def start_ns(day: date) -> int:
    """Where a UTC day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S


def build(
    paths: Sequence[Path],
    progress: Progress | None = None,
    keys: Keys = Keys(),  # noqa: B008 - it is immutable
) -> Index:
    """Index every segment in `paths`: files, or folders that are searched to the bottom; `keys` are those of the inventory.

    Raises:
        UsageError: a path that is not there.
    """
    index, odd = Index(), list[Path]()
    files: dict[str, tuple[array[int], array[int]]] = {}  # prefix -> sequences, folders
    numbers: dict[str, int] = {}
    seen_folders: set[str] = set()
    for folder, name in _files(paths, seen_folders, index.findings):
        number = numbers.setdefault(folder, len(numbers))
        prefix, sequence = chain.split_name(Path(name))
        if sequence is None or name != f"{prefix}_{sequence:08d}{segment.SUFFIX}":
            odd.append(Path(folder, name))
        else:
            sequences, folders = files.setdefault(prefix, (array("q"), array("l")))
            sequences.append(sequence)
            folders.append(number)
    index._folders += numbers
    total, done = sum(len(sequences) for sequences, _ in files.values()), 0
    for prefix in sorted(files):
        index._prefixes.append(prefix)
        node, first, findings, begun = Chain(prefix, ""), Path(), _NodeFindings(prefix), False
        for sequence, number in sorted(
            set(zip(*files.pop(prefix), strict=True)), key=lambda f: (f[0], f"{index._folders[f[1]]}/{prefix}")
        ):
            if progress is not None:
                progress(done, total)
            done += 1
            path = Path(index._folders[number], f"{prefix}_{sequence:08d}{segment.SUFFIX}")
            if sequence in node.digests:
                node.digests[sequence] = _digest(first)
            else:
                first = path
            header = _header(node, path, sequence)
            if header is not None:
                if header.sequence > 0 and not begun and header.from_ns % DAY_NS:
                    text = f"the segments before {header.sequence} are missing, and may have energy of this day; copy them"
                    node.faults.append(ChainFault("missing", f"{path}: {text}"))
                begun = True
                index._add(number, header)
                chain.check_header(node, path, header, keys)
            findings.take(node.faults, header)
        index.findings += findings.end()
    for path in sorted(odd):
        node = Chain("", "")
        chain.add_file(node, path, None)
        index.findings += [IndexedFault(fault, "") for fault in node.faults]
    return index


class _NodeFindings:
    """A node's faults with their days, from its files in the order of their numbers."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._done: list[IndexedFault] = []
        self._open: list[ChainFault] = []  # of what has no header: it lies between the headers around it
        self._before: Header | None = None

    def take(self, faults: list[ChainFault], header: Header | None) -> None:
        """Take the faults that a file added, and leave the list empty."""
        for fault in faults:
            if header is None and fault.kind == "duplicate" and self._before is not None:
                self._add(fault, *_days_of(self._before))
            elif header is None or fault.kind == "missing":
                self._open.append(fault)
            else:
                self._add(fault, *_days_of(header))
        faults.clear()
        if header is not None:
            first = _days_of(header)[0]
            self._close(first if self._before is None else _days_of(self._before)[1], first)
            self._before = header

    def end(self) -> list[IndexedFault]:
        """All of them."""
        if self._before is not None:
            last = _days_of(self._before)[1]
            self._close(last, last)
        self._done += [IndexedFault(fault, self._prefix) for fault in self._open]  # no file has a header: nothing has a day
        return self._done

    def _close(self, one: int, other: int) -> None:
        for fault in self._open:
            self._add(fault, min(one, other), max(one, other))
        self._open.clear()

    def _add(self, fault: ChainFault, first: int, last: int) -> None:
        self._done.append(IndexedFault(fault, self._prefix, first, last))


def _files(paths: Iterable[Path], seen_folders: set[str], findings: list[IndexedFault]) -> Iterator[tuple[str, str]]:
    """(folder, name) of every file, each once; folders that cannot be read become findings."""
    waiting = list[str]()
    for path in paths:
        if path.is_dir():
            waiting.append(str(path))
        elif path.exists():
            yield str(path.parent), path.name
        else:
            raise UsageError(f"{path}: no such file or folder")
    while waiting:
        folder = waiting.pop()
        if folder in seen_folders:
            continue
        seen_folders.add(folder)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.name.endswith(segment.SUFFIX) and not entry.name.startswith("."):
                        yield folder, entry.name
        except OSError as error:
            findings.append(IndexedFault(ChainFault("corrupted", f"{folder}: cannot be read: {error.strerror}"), ""))


def _header(node: Chain, path: Path, sequence: int) -> Header | None:
    """The header of a file whose rows can be used; what is wrong with it is noted in the node's chain."""
    try:
        header = segment.peek(path)
        named = segment.file_name(header.cluster, header.node, header.sequence)
    except ChainError:
        header, named = None, ""
    # A flipped bit can leave a header that can be read, and put the segment on another day: nobody would miss it there.
    follows = header is not None and abs(header.from_ns - node.to_ns) <= LATE_NS
    if header is None or named != path.name or sequence in node.digests or not follows:
        content = chain.add_file(node, path, sequence)
        return None if content is None else content.header
    chain.extend(node, sequence, "", header.previous, path)
    return header


def _digest(path: Path) -> str:
    try:
        return segment.sha256(segment.load(path))
    except ChainError:
        return ""
