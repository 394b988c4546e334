"""Compaction: the segments of many nodes become immutable Parquet per site and UTC day, with the day's sums next to the rows.

Headers are read once (`index`), then each day reads the files that touch it, node after node, so time is linear in rows and
memory is bounded by one node's day and the waiting row groups. Sums are Python integers. Days do not know of each other: any
number of processes give the same bytes.

A fault is one node's: its rows are left out of the days that the fault touches, and all other nodes' are written. Nothing that
a node sends raises here; what does is the output, the inventory or the machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.ledger import chain
from energy_agent.ledger.chain import Chain, ChainFault, Progress
from energy_agent.ledger.chain_rows import ChainRows
from energy_agent.ledger.claims import Conflict, Contest, MeteredSpans, Refused, Who, measured_devices, refused
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.index import Index, IndexedFault, IndexedSegment
from energy_agent.ledger.fleet.parting import DayLocations, part, without
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.fleet.statement import MANIFEST, DayGaps, Draft, NodePart, SiteDay, emptied, read_owners, statements
from energy_agent.ledger.segments import table
from energy_agent.ledger.segments.table import SegmentTable

__all__ = ["MANIFEST", "SiteDay", "compact_days"]
ROWS_MAX: Final = 1_000_000
"""Maximum rows of one node and day, which bounds memory. A node with 16 GPUs and 50 workloads at a time has 60,000."""


@dataclass(frozen=True, slots=True)
class DayCompaction:
    """One day of every site, what is wrong with its segments, and which nodes (by their file names) were left out for it."""

    day: date
    statements: tuple[SiteDay, ...]
    faults: tuple[ChainFault, ...]
    left_out: tuple[str, ...] = ()
    unsigned: Mapping[str, int] = field(default_factory=dict)  # how many of a node's segments nobody signed


@dataclass(frozen=True, slots=True)
class _Job:
    """All that one day's compaction needs to know."""

    day: date
    nodes: list[list[IndexedSegment]]
    out: Path
    sites: Sites
    reason: str
    accept_faults: bool
    findings: tuple[IndexedFault, ...]  # of the index, as far as they touch this day
    earlier: tuple[Path, ...] = ()  # statements that were there before: of each site the newest up to this day


def compact_days(
    segments: Index,
    out: Path,
    days: Sequence[date],
    sites: Sites,
    *,
    reason: str = "",
    accept_faults: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Iterator[DayCompaction]:
    """Write UTC days of every site, day by day in the order of `days`.

    Args:
        segments: the segments, from `index.build`.
        out: the folder of compacted days.
        days: which days, UTC.
        sites: where each device stood.
        reason: why a day is restated; by default what changed in the input.
        accept_faults: leave out damaged files alone, and not all of the node's rows of the day; state days again without rows
            that they had. Faults stand in the manifest in either case.
        jobs: how many processes share the days.
        progress: called with (done, all) files.

    Raises:
        ChainError: a manifest of the output is damaged.
        UsageError: no site for anything, or the output cannot be written.
    """
    stated = statements(out)
    work = (
        _Job(day, segments.of_day(day), out, sites, reason, accept_faults, tuple(segments.findings_of(day)), stated(day))
        for day in days
    )
    total = segments.count(days)
    if jobs > 1 and len(days) > 1:
        yield from _side_by_side(work, jobs, total, progress)
        return
    done = 0
    for job in work:
        yield _compact_day(job, None if progress is None else _later(progress, done, total))
        done += segments.count([job.day])


def _later(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


def _side_by_side(work: Iterator[_Job], jobs: int, total: int, progress: Progress | None) -> Iterator[DayCompaction]:
    """Days in several processes; results in order, and never more days waiting than processes."""
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
    from multiprocessing import get_context

    done, waiting = 0, list[tuple[int, Future[DayCompaction]]]()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:  # a fork would copy the threads of libraries by halves
        try:
            job = next(work, None)
            while job is not None or waiting:
                if job is not None and len(waiting) <= jobs:
                    waiting.append((sum(map(len, job.nodes)), pool.submit(_compact_day, job)))
                    job = next(work, None)
                    continue
                files, result = waiting.pop(0)
                yield result.result()
                done += files
                if progress is not None:
                    progress(done, total)
        except BrokenExecutor:
            raise WattlensError("the system killed a compaction process (out of memory?); use fewer jobs") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _compact_day(job: _Job, progress: Progress | None = None) -> DayCompaction:
    first = _Pass(job, {})
    try:
        first.run(progress)
        conflicts = _conflicts(job, first.claims)
        if not conflicts:
            return first.publish([])
        first.discard()
        second = _Pass(job, refused(conflicts))
        try:
            second.run(None)
            return second.publish(conflicts)
        finally:
            second.discard()
    except OSError as error:
        raise UsageError(f"{error.filename or job.out}: cannot be written: {error.strerror}") from None
    finally:
        first.discard()


def _conflicts(job: _Job, claims: MeteredSpans) -> list[Conflict]:
    """What was measured twice this day; the segments of these nodes are read again, which is rare."""
    contested = claims.contested()
    if not contested:
        return []
    start_ns = index.start_ns(job.day)
    contest = Contest(contested, start_ns, start_ns + index.DAY_NS)
    prefixes = {chain.prefix_of(*who): who for who in contest.chains}
    for entries in job.nodes:
        who = prefixes.get(chain.split_name(Path(entries[0].path))[0])
        if who is not None:
            for entry in entries:
                with suppress(ChainError):  # a fault that was named
                    contest.add(who, table.read(Path(entry.path)).columns)
    return contest.conflicts(job.sites.is_assigned, lambda device: read_owners(job.earlier).get(device, set()))


class _Pass:
    """One way through a day's segments."""

    def __init__(self, job: _Job, cells: Mapping[Who, Refused]) -> None:
        self._job, self._refused = job, cells
        self._drafts: dict[str, Draft] = {}
        self._read: set[str] = set()
        self._faults = [finding.fault for finding in job.findings]
        self._left_out: set[str] = set()
        self._unsigned: dict[str, int] = {}
        self.claims = MeteredSpans()

    def run(self, progress: Progress | None) -> None:
        """Read every node and write it into drafts."""
        job = self._job
        withheld = {finding.prefix for finding in job.findings if not finding.fault.harmless}
        places = DayLocations(job.sites, index.start_ns(job.day))
        done, total = 0, sum(map(len, job.nodes))
        for entries in job.nodes:
            prefix = chain.split_name(Path(entries[0].path))[0]
            if prefix in withheld and not job.accept_faults:
                self._left_out.add(prefix)
                done += len(entries)
                continue
            node = _NodeDay(places, self._refused)
            for entry in entries:
                if progress is not None:
                    progress(done, total)
                done += 1
                node.read(entry)
            self._write(prefix, node)
        for site in emptied(job.out, job.day, self._drafts, self._read):
            self._draft(site)

    def _write(self, prefix: str, node: "_NodeDay") -> None:
        parts = node.parts()
        self._faults += node.chain.faults
        is_faulty = not all(fault.harmless for fault in node.chain.faults)
        if parts is None or (is_faulty and not self._job.accept_faults):
            self._left_out.add(prefix)
            return
        self._read |= node.names
        if node.chain.unsigned:
            self._unsigned[prefix] = node.chain.unsigned
        for site, part_of_day in parts.items():
            self._draft(site).add(part_of_day)
            for piece in part_of_day.pieces:
                header = piece.header
                devices = measured_devices(piece.kinds)
                self.claims.add((header.cluster, header.node), devices, header.from_ns, header.to_ns)

    def _draft(self, site: str) -> Draft:
        if site not in self._drafts:
            self._drafts[site] = Draft(self._job.out, site, self._job.day)
        return self._drafts[site]

    def publish(self, conflicts: Sequence[Conflict]) -> DayCompaction:
        """Publish every site's draft."""
        job, left_out = self._job, tuple(sorted(self._left_out))
        faults = [*self._faults, *(ChainFault("twice", str(conflict)) for conflict in conflicts)]
        cells = {chain.prefix_of(*who): devices for who, devices in self._refused.items()}
        account = DayGaps(faults, left_out, cells, self._unsigned, accepted=job.accept_faults)
        statements = [self._drafts[site].publish(job.reason, account) for site in sorted(self._drafts)]
        return DayCompaction(job.day, tuple(statements), tuple(faults), left_out, self._unsigned)

    def discard(self) -> None:
        """Leave nothing behind of what is not published."""
        for draft in self._drafts.values():
            draft.discard()


class _NodeDay:
    """One node's rows of a day by site. Nothing of it is written before all of it is known to be sound."""

    def __init__(self, places: DayLocations, cells: Mapping[Who, Refused]) -> None:
        self.chain = Chain("", "")
        self._refused = cells
        self.names: set[str] = set()
        self._places, self._checked = places, ChainRows(places.skus)
        self._sites: dict[str, NodePart] = {}
        self._rows = 0

    def read(self, entry: IndexedSegment) -> None:
        """Add a segment's rows; what is wrong with it becomes a fault of the chain."""
        path = Path(entry.path)
        if self._rows > ROWS_MAX:
            return
        content = self._content(entry, path)
        if content is None:
            return
        mine = self._refused.get((content.header.cluster, content.header.node))
        try:
            parted = part(without(content, mine) if mine else content, self._places)
        except UsageError as error:
            if not self._places.any_known:
                raise  # not the node's fault: the inventory names no site at all
            self.chain.faults.append(ChainFault("site", f"{path}: {error}"))
            return
        self.names.add(path.name)
        self._rows += content.header.rows
        if self._rows > ROWS_MAX:
            self.chain.faults.append(ChainFault("alien", f"{path}: would exceed the limit of {ROWS_MAX} rows per node and day"))
            self._sites.clear()
        for site, kinds in parted.items():
            if site not in self._sites:
                self._sites[site] = NodePart(content.header)
            self._sites[site].add(content.header, kinds, path.name, content.sha256)

    def parts(self) -> dict[str, NodePart] | None:
        """The rows of each site with their sums; None where they cannot be summed, which is a fault then."""
        if self._rows > ROWS_MAX:
            return None
        try:
            for one in self._sites.values():
                one.sum_up()
        except ChainError as error:
            self.chain.faults.append(ChainFault("sum", str(error)))
            return None
        return self._sites

    def _content(self, entry: IndexedSegment, path: Path) -> SegmentTable | None:
        """The segment, checked against the header in the index; None where its rows cannot be used."""
        node = self.chain
        node.last, node.head = entry.sequence - 1, ""  # the index has checked the numbers, and the link is checked below
        content = chain.add_file(node, path, entry.sequence)
        if content is None:
            return None
        header = content.header
        if (header.from_ns, header.to_ns, header.previous) != (entry.from_ns, entry.to_ns, entry.previous):
            node.faults.append(ChainFault("changed", f"{path}: changed while it was read; run the command again"))
            return None
        if entry.follower and entry.names != content.sha256:
            node.faults.append(chain.wrong_previous(Path(entry.follower), entry.names, entry.sequence, content.sha256))
        faults, content = chain.check_rows(self._checked, path, content)
        self.chain.faults += faults
        return None if content.strange or not all(fault.harmless for fault in faults) else content
