"""Which segments are there and which days they touch: every header is read once, whatever days are wanted.

The chains are checked here as far as headers tell: numbers that are missing or there twice, files that cannot be read or bear
another's name. What only whole files tell (their hash, their rows) is checked by whoever reads them; each file of a day says
what the next one names as its previous.
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
from energy_agent.ledger.chain import Chain, Fault, Progress
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.segment import Header

DAY_NS: Final = NS_PER_DAY


class Entry(NamedTuple):
    """One segment as its header tells; `follower` is the file with the next number, `names` what that calls its previous."""

    path: str
    sequence: int
    from_ns: int
    to_ns: int
    previous: str
    follower: str = ""
    names: str = ""


@dataclass(slots=True)
class Index:
    """Segments in the order of nodes and their numbers. Kept small: a fleet's quarter has three million."""

    faults: list[Fault] = field(default_factory=list)
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
    def days(self) -> list[date]:
        """The UTC days that segments touch."""
        return [datetime.fromtimestamp(number * 86_400, UTC).date() for number in sorted(self._of_day)]

    def of_day(self, day: date) -> list[list[Entry]]:
        """A day's segments, each node's by themselves, in the order of its chain."""
        found = self._of_day.get(start_ns(day) // DAY_NS, ())
        return [[self._entry(i) for i in group] for _, group in groupby(found, key=lambda i: self._node[i])]

    def count(self, days: Iterable[date]) -> int:
        """How many files these days read."""
        return sum(len(self._of_day.get(start_ns(day) // DAY_NS, ())) for day in days)

    def _path(self, i: int) -> str:
        name = f"{self._prefixes[self._node[i]]}_{self._sequence[i]:08d}{segment.SUFFIX}"
        return os.path.join(self._folders[self._folder[i]], name)  # noqa: PTH118

    def _names(self, i: int) -> str:
        return self._previous[32 * i : 32 * i + 32].hex()

    def _entry(self, i: int) -> Entry:
        own = (self._path(i), self._sequence[i], self._from_ns[i], self._to_ns[i], self._names(i))
        after = i + 1
        if after < len(self) and self._node[after] == self._node[i] and self._sequence[after] == self._sequence[i] + 1:
            return Entry(*own, self._path(after), self._names(after))
        return Entry(*own)

    def _add(self, folder: int, header: Header) -> None:
        i = len(self)
        self._node.append(len(self._prefixes) - 1)
        self._folder.append(folder)
        self._sequence.append(header.sequence)
        self._from_ns.append(header.from_ns)
        self._to_ns.append(header.to_ns)
        self._previous += bytes.fromhex(header.previous)
        last_ns = max(header.from_ns, header.to_ns - 1)
        first_ns = max(header.from_ns, last_ns - segment.SPAN_MAX_NS)
        for number in range(first_ns // DAY_NS, last_ns // DAY_NS + 1):
            self._of_day.setdefault(number, array("l")).append(i)
        self.faults += chain.check_span(Path(self._path(i)), header)


def start_ns(day: date) -> int:
    """Where a UTC day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S


def build(paths: Sequence[Path], progress: Progress | None = None) -> Index:
    """Index every segment in `paths`: files, or folders that are searched to the bottom.

    Raises:
        UsageError: a path that is not there.
    """
    index, odd = Index(), list[Path]()
    found: dict[str, tuple[array[int], array[int]]] = {}  # prefix -> sequences, folders
    numbers: dict[str, int] = {}
    seen: set[str] = set()
    for folder, name in _files(paths, seen):
        number = numbers.setdefault(folder, len(numbers))
        prefix, sequence = chain.split_name(Path(name))
        if sequence is None or name != f"{prefix}_{sequence:08d}{segment.SUFFIX}":
            odd.append(Path(folder, name))
        else:
            sequences, folders = found.setdefault(prefix, (array("q"), array("l")))
            sequences.append(sequence)
            folders.append(number)
    index._folders += numbers
    total, done = sum(len(sequences) for sequences, _ in found.values()), 0
    for prefix in sorted(found):
        index._prefixes.append(prefix)
        node, first = Chain(prefix, ""), Path()
        for sequence, number in sorted(
            set(zip(*found.pop(prefix), strict=True)), key=lambda f: (f[0], f"{index._folders[f[1]]}/{prefix}")
        ):
            if progress is not None:
                progress(done, total)
            done += 1
            path = Path(index._folders[number], f"{prefix}_{sequence:08d}{segment.SUFFIX}")
            if sequence in node.seen:
                node.seen[sequence] = _digest(first)
            else:
                first = path
            header = _header(node, path, sequence)
            if header is not None:
                index._add(number, header)
        index.faults += node.faults
    for path in sorted(odd):
        node = Chain("", "")
        chain.add_file(node, path, None)
        index.faults += node.faults
    return index


def _files(paths: Iterable[Path], seen: set[str]) -> Iterator[tuple[str, str]]:
    """(folder, name) of every file, each once."""
    waiting = list[str]()
    for path in paths:
        if path.is_dir():
            waiting.append(str(path))
        elif path.exists():
            yield str(path.parent), path.name
        else:
            raise UsageError(f"{path}: there is no such file or folder")
    while waiting:
        folder = waiting.pop()
        if folder in seen:
            continue
        seen.add(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.name.endswith(segment.SUFFIX) and not entry.name.startswith("."):
                    yield folder, entry.name


def _header(node: Chain, path: Path, sequence: int) -> Header | None:
    """The header of a file whose rows can be used; what is wrong with it is noted in the node's chain."""
    try:
        header = segment.peek(path)
        named = segment.file_name(header.cluster, header.node, header.sequence)
    except ChainError:
        header, named = None, ""
    if header is None or named != path.name or sequence in node.seen:
        content = chain.add_file(node, path, sequence)
        return None if content is None else content.header
    chain.extend(node, sequence, "", header.previous, path)
    return header


def _digest(path: Path) -> str:
    try:
        return segment.sha256(segment.load(path))
    except ChainError:
        return ""
