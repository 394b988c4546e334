"""Verify chains of segments: each segment exists once, unchanged and in order, and the journal agrees to the microjoule.

A chain is one node's segments. The files alone do not show that the end of a chain was cut off, or that someone with the node's
key rewrote it; the journal, or a head signed by the site (`fleet/heads.py`), does.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from energy_agent.core.boundary import is_meter
from energy_agent.core.errors import ChainError, UsageError
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger.chain_rows import ChainRows, begins_again, without_impossible_counts
from energy_agent.ledger.claims import Contest, MeteredSpans, Who, measured_devices
from energy_agent.ledger.journal.book import LATE_NS
from energy_agent.ledger.journal.view import JournalView
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.ledger.rows.totals import WORKLOAD_PARTS, Tally, ended_key
from energy_agent.ledger.segments import segment, table
from energy_agent.ledger.segments.segment import Header
from energy_agent.ledger.segments.table import SegmentTable
from energy_agent.ledger.signing import Keys, is_valid

_NAME: Final = re.compile(r"(.+)_(\d{8,})" + re.escape(segment.SUFFIX))
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ChainFault:
    """One thing that is wrong with one node's segments.

    `kind`: corrupted | missing | duplicate | previous | alien | span | time | twice | impossible | signature | key | journal |
    head, and of compaction also changed | site | sum.
    """

    kind: str
    line: str  # one line for a person, naming the file
    harmless: bool = False  # nothing is lost and nothing counted twice


@dataclass(slots=True)
class Chain:
    """The segments of one node in their files. Cluster and node are empty until a file of the node could be read."""

    cluster: str
    node: str
    count: int = 0
    first: int | None = None
    last: int | None = None
    head: str = ""  # hash of the last segment
    simulated: bool = False
    faults: list[ChainFault] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    digests: dict[int, str] = field(default_factory=dict)  # sequence -> hash, "" where the file is corrupted
    file: Path | None = None  # the first one
    key: str = ""  # of the last signed segment
    key_since_ns: int = -1  # the latest enrolment of a key that has signed
    to_ns: int = 0  # where its time ends
    before: Path | None = None  # the segment that ends there
    unsigned: int = 0  # segments without a signature, or with one that nobody can check here
    heads: list[tuple[date, int]] = field(default_factory=list)  # signed heads that it contains: of which day, sequence

    @property
    def name(self) -> str:
        """Whose it is; where no file says so, the first file."""
        return f"{self.cluster}/{self.node}" if self.node else str(self.file)


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What verification found."""

    chains: tuple[Chain, ...]
    files: int
    further: tuple[ChainFault, ...] = ()  # of no chain

    @property
    def faults(self) -> tuple[ChainFault, ...]:
        """Every fault of every chain, one of several chains once, and those of none."""
        return tuple(dict.fromkeys([*(fault for chain in self.chains for fault in chain.faults), *self.further]))

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def find(paths: Iterable[Path]) -> list[Path]:
    """Segment files in `paths`, folders searched to the bottom; sorted so that a node's files come together, in order.

    Raises:
        UsageError: a path does not exist.
    """
    files: set[Path] = set()
    for path in paths:
        if path.is_dir():
            files.update(p for p in path.rglob(f"*{segment.SUFFIX}") if not p.name.startswith("."))
        elif path.exists():
            files.add(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    return sorted(files, key=lambda p: (p.name, str(p)))


def verify(
    paths: Sequence[Path],
    journal: JournalView | None = None,
    progress: Progress | None = None,
    keys: Keys = Keys(),  # noqa: B008 - it is immutable
    skus: Mapping[str, str] | None = None,
) -> VerificationReport:
    """Verify every segment in `paths`, and against the journal if one is given.

    Args:
        paths: files, or folders that are searched recursively.
        journal: of the node whose segments are among them.
        progress: called with the number of verified files and of all files.
        keys: signing keys that the inventory enrols.
        skus: names of GPUs in the inventory, by UUID; None: without one the limits of physics are not checked.

    Raises:
        UsageError: a path does not exist.
    """
    files = find(paths)
    chains: dict[str, Chain] = {}
    rows: dict[str, ChainRows] = {}
    claims = MeteredSpans()
    sealed_range = range(0)
    if journal is not None:
        who = journal.identity
        chains[prefix_of(who.cluster, who.node)] = Chain(who.cluster, who.node)
        if journal.segments:
            sealed_range = range(journal.first_sequence, journal.segments[-1].sequence + 1)
    for number, path in enumerate(files):
        if progress is not None:
            progress(number, len(files))
        prefix, sequence = split_name(path)
        chain = chains.setdefault(prefix, Chain("", ""))
        content = add_file(chain, path, sequence)
        mine = content is not None and journal is not None and (chain.cluster, chain.node) == (who.cluster, who.node)
        if content is not None:
            header = content.header
            check_header(chain, path, header, keys)
            checked = check_rows(rows.setdefault(prefix, ChainRows(skus or {})), path, content)[0]
            chain.faults += [fault for fault in checked if skus is not None or fault.kind == "twice"]
            claims.add((header.cluster, header.node), measured_devices(content.columns), header.from_ns, header.to_ns)
        if (
            content is not None and mine and content.header.sequence in sealed_range
        ):  # what is sealed later is not in its totals yet
            chain.tally.add_rows(content.rows())
    if journal is not None:
        _against(chains[prefix_of(who.cluster, who.node)], journal)
    _measured_twice(files, chains, claims.contested())
    return VerificationReport(tuple(chains.values()), len(files))


def _measured_twice(files: Iterable[Path], chains: Mapping[str, Chain], contested: Mapping[str, set[Who]]) -> None:
    """Name what several chains measured at a time; the files of these chains are read again, which is rare."""
    if not contested:
        return
    contest = Contest(contested)
    prefixes = {prefix_of(*who): who for who in contest.chains}
    for path in files:
        who = prefixes.get(split_name(path)[0])
        if who is not None:
            with suppress(ChainError):  # named before
                contest.add(who, table.read(path).columns)
    for conflict in contest.conflicts(lambda *_: False):
        for who in conflict.chains:
            chains[prefix_of(*who)].faults.append(ChainFault("twice", str(conflict)))


def prefix_of(cluster: str, node: str) -> str:
    """What the file names of a node's segments begin with."""
    return segment.file_name(cluster, node, 0).removesuffix(f"_00000000{segment.SUFFIX}")


def split_name(path: Path) -> tuple[str, int | None]:
    """(prefix, sequence) of a segment's file name, with None for a missing or invalid sequence."""
    match = _NAME.fullmatch(path.name)
    if match is None or len(match[2]) > 19 or int(match[2]) > INT64_MAX:
        return path.name, None
    return match[1], int(match[2])


def add_file(chain: Chain, path: Path, sequence: int | None) -> SegmentTable | None:
    """Read the chain's next file and note what is wrong with it; None where its rows cannot be used."""
    chain.file = chain.file or path
    try:
        content = table.read(path)
    except ChainError as error:
        kind = "alien" if "invalid row" in str(error) else "corrupted"
        chain.faults.append(ChainFault(kind, f"{error}; copy the file from the node again"))
        if sequence is not None and sequence not in chain.digests:
            extend(chain, sequence, "", None, path)
        return None
    header = content.header
    if path.name != segment.file_name(header.cluster, header.node, header.sequence):
        text = f"{path}: contains segment {header.sequence} of {header.cluster}/{header.node}; rename or move the file"
        chain.faults.append(ChainFault("alien", text))
        return None
    chain.cluster, chain.node, chain.simulated = header.cluster, header.node, header.simulated
    if header.sequence in chain.digests:
        same = chain.digests[header.sequence] == content.sha256
        words = "the same" if same else "other"
        text = f"{path}: duplicate of segment {header.sequence}, with {words} content; remove the wrong file"
        chain.faults.append(ChainFault("duplicate", text, harmless=same))
        return None
    extend(chain, header.sequence, content.sha256, header.previous, path)
    valid = is_valid(content)
    if valid is None:
        chain.unsigned += 1
    elif not valid:
        chain.faults.append(
            ChainFault("signature", f"{path}: its signature does not match the key that it names, {header.key[:16]}")
        )
        return None
    chain.faults += [ChainFault("alien", f"{path}:{line}: invalid row: {text}") for line, text in content.strange]
    return content


def extend(chain: Chain, sequence: int, digest: str, previous: str | None, path: Path) -> None:
    """Take up the next segment. Files come in order of their names: a number that is not the next means a hole."""
    if chain.last is None:
        if sequence == 0 and previous not in (None, segment.FIRST_PREVIOUS):
            chain.faults.append(ChainFault("previous", f"{path}: is the first segment, but names a previous segment"))
    elif sequence > chain.last + 1:
        missing = f"{chain.last + 1}" if sequence == chain.last + 2 else f"{chain.last + 1} to {sequence - 1}"
        chain.faults.append(ChainFault("missing", f"{path}: the preceding segment {missing} is missing; copy it from the node"))
    elif previous is not None and chain.head and previous != chain.head:
        chain.faults.append(wrong_previous(path, previous, chain.last, chain.head))
    chain.first = sequence if chain.first is None else chain.first
    chain.last, chain.head, chain.count = sequence, digest, chain.count + 1
    chain.digests[sequence] = digest


def check_header(chain: Chain, path: Path, header: Header, keys: Keys) -> None:
    """Name what is wrong with a segment's span, key and time; segments come in the order of the chain."""
    chain.faults += check_span(path, header)
    fault_count = len(chain.faults)
    check_key(chain, path, header, keys)
    if len(chain.faults) == fault_count:  # else it is not the node's, and its time says nothing
        check_time(chain, path, header)


def check_key(chain: Chain, path: Path, header: Header, keys: Keys) -> None:
    """Name a segment that is signed by another key than its node's, or no more; segments come in the order of the chain."""
    objection = keys.objection(header, chain.key, chain.key_since_ns)
    if objection:
        chain.faults.append(ChainFault("key", f"{path}: {objection}"))
    elif header.key:
        chain.key, chain.key_since_ns = header.key, max(chain.key_since_ns, keys.since_ns(header))


def check_time(chain: Chain, path: Path, header: Header) -> None:
    """Name a segment that ends before the one before it did, without a clock step that the node has recorded.

    A segment without energy, or with meters of a building alone, which may be read late, adds nothing to a time before.
    """
    if chain.before is None or header.to_ns >= chain.to_ns - LATE_NS:
        chain.to_ns, chain.before = max(chain.to_ns, header.to_ns), path
        return
    rows, noted = dict[str, Any](), False
    for file in (path, chain.before):  # rare; what cannot be read is named elsewhere
        with suppress(ChainError):
            content = table.read(file)
            noted = noted or bool(begins_again(content))
            rows = content.columns.get("cell", {}) if file == path else rows
    if noted:
        chain.to_ns, chain.before = header.to_ns, path
    elif not all(map(is_meter, rows.get("device", ()))):
        ends, before = (datetime.fromtimestamp(t_ns // NS_PER_S, UTC).isoformat() for t_ns in (header.to_ns, chain.to_ns))
        text = f"ends at {ends}, but the chain has reached {before}, and the node recorded no step of its clock"
        chain.faults.append(ChainFault("time", f"{path}: {text}"))


def check_rows(rows: ChainRows, path: Path, content: SegmentTable) -> tuple[list[ChainFault], SegmentTable]:
    """The faults of a segment's rows in their chain, and the segment without counts that are left out by themselves."""
    repeated, impossible = rows.check(content)
    faults = [ChainFault("twice", f"{path}: {text}, and the node recorded no step of its clock") for text in repeated]
    faults += [ChainFault("impossible", f"{path}: {text}") for text in impossible]
    content, counts = without_impossible_counts(content)
    return faults + [ChainFault("impossible", f"{path}: {text}", harmless=True) for text in counts], content


def check_span(path: Path, header: Header) -> list[ChainFault]:
    """The fault of a segment over a longer time than any should have: days before its last year have no entry in an index."""
    if header.to_ns - header.from_ns <= segment.SPAN_MAX_NS:
        return []
    first, last = (datetime.fromtimestamp(t_ns // NS_PER_S, UTC).date() for t_ns in (header.from_ns, header.to_ns))
    days = segment.SPAN_MAX_NS // NS_PER_DAY
    text = f"{path}: spans {first} to {last}, so the node's clock was probably wrong; only the last {days} days are compacted"
    return [ChainFault("span", text)]


def wrong_previous(path: Path, named: str, sequence: int, head: str) -> ChainFault:
    """A file names another one as its previous than segment `sequence`, which is before it."""
    return ChainFault("previous", f"{path}: names {named[:12]} as the previous segment, but segment {sequence} is {head[:12]}")


def _against(chain: Chain, journal: JournalView) -> None:
    """Hashes and totals of the journal. Segments sealed after the journal was read are not its concern."""
    faults, total = [], Tally()
    complete = all(chain.digests.values())
    for entry in journal.segments:
        digest = chain.digests.get(entry.sequence)
        if digest is None and entry.body is not None:  # fixed in the journal, its file is still to be written
            content = segment.decode(segment.expand(entry.body, str(journal.path)), f"{journal.path}:{entry.name}")
            total.add_rows(content.rows)
        elif digest is None:
            complete = False
            faults.append(ChainFault("missing", f"{entry.name}: recorded in the journal, but the file is missing"))
        elif digest and digest != entry.sha256:
            faults.append(
                ChainFault("journal", f"{entry.name}: differs from the segment that the journal sealed ({entry.sha256[:12]})")
            )
    chain.faults += faults
    if not complete:
        return  # the sum of what is there says nothing
    total.add_tally(chain.tally)
    total.add_rows(journal.book.open_rows())
    for name, recorded in journal.book.totals.sums.items():
        summed = _without_ended(name, total.sums[name], recorded)
        for key in sorted(summed.keys() | recorded.keys()):
            if summed.get(key, 0) != recorded.get(key, 0):
                what = f"{name} of {'/'.join(part or 'ended workloads' for part in key) if isinstance(key, tuple) else key}"
                text = f"{journal.path}: {what}: rows sum to {summed.get(key, 0)}, the total is {recorded.get(key, 0)}"
                chain.faults.append(ChainFault("journal", text))


def _without_ended(name: str, summed: Mapping[Any, int], recorded: Mapping[Any, int]) -> dict[Any, int]:
    """Sums of rows as the journal keeps them: those of workloads that have ended are in one sum.

    A workload that returned has a total for its time since then, less than its rows sum to. That is so where all that is
    missing makes up the sum of the ended ones; else the difference is a fault of the workload's own total.
    """
    sums: dict[Any, int] = {}
    returned: dict[Any, dict[Any, int]] = {}
    for key, amount in summed.items():
        target = ended_key(name, key) if name in WORKLOAD_PARTS else key
        if key not in recorded and amount:
            sums[target] = sums.get(target, 0) + amount
        else:
            sums[key] = sums.get(key, 0) + amount
            if target != key and amount > recorded.get(key, 0):
                returned.setdefault(target, {})[key] = recorded.get(key, 0)
    for target, totals in returned.items():
        before = sum(sums[key] - total for key, total in totals.items())
        if sums.get(target, 0) + before == recorded.get(target, 0):
            sums |= totals
            sums[target] = recorded[target]
    return sums
