"""Compaction: the segments of many nodes become immutable Parquet per site and UTC day, with the day's sums beside the rows.

Headers are read once (`index`), then each day reads the files that touch it, node after node, so time is linear in rows and
memory is bounded by one node's day and the waiting row groups. Sums are Python integers. Days do not know of each other: any
number of processes give the same bytes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.ledger import chain
from energy_agent.ledger.chain import Chain, Fault, Progress
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.index import Entry, Index
from energy_agent.ledger.fleet.parting import Places, part
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.fleet.statement import MANIFEST, Draft, Statement, emptied
from energy_agent.ledger.segments.table import Table

__all__ = ["MANIFEST", "Statement", "compact", "compact_days"]


@dataclass(frozen=True, slots=True)
class Result:
    """One day of every site, and the faults that were accepted."""

    day: date
    statements: tuple[Statement, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """All that one day's compaction needs to know."""

    day: date
    nodes: list[list[Entry]]
    out: Path
    sites: Sites
    reason: str
    accept_faults: bool
    faults: tuple[Fault, ...]  # of the whole index


def compact(
    paths: Sequence[Path],
    out: Path,
    day: date,
    sites: Sites,
    *,
    reason: str = "",
    accept_faults: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Statement], list[Fault]]:
    """Write one UTC day of every site that `paths` hold segments of: `compact_days` of one day."""
    found = index.build(paths)
    (result,) = compact_days(found, out, [day], sites, reason=reason, accept_faults=accept_faults, progress=progress)
    return list(result.statements), list(result.faults)


def compact_days(
    found: Index,
    out: Path,
    days: Sequence[date],
    sites: Sites,
    *,
    reason: str = "",
    accept_faults: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Write UTC days of every site, day by day in the order of `days`.

    Args:
        found: the segments, from `index.build`.
        out: the folder of compacted days.
        days: which days, UTC.
        sites: where each device stood.
        reason: why a day is restated; by default what changed in the input.
        accept_faults: write although a chain is broken; the faults stand in the manifest, damaged files are left out.
        jobs: how many processes share the days.
        progress: called with (done, all) files.

    Raises:
        ChainError: a chain is broken; the first fault and how many more.
        UsageError: no site for a device, or the output cannot be written.
    """
    _refuse(found.faults, accept_faults)
    work = (_Job(day, found.of_day(day), out, sites, reason, accept_faults, tuple(found.faults)) for day in days)
    total = found.count(days)
    if jobs > 1 and len(days) > 1:
        yield from _side_by_side(work, jobs, total, progress)
        return
    done = 0
    for job in work:
        yield _compact_day(job, None if progress is None else _later(progress, done, total))
        done += found.count([job.day])


def _later(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


def _side_by_side(work: Iterator[_Job], jobs: int, total: int, progress: Progress | None) -> Iterator[Result]:
    """Days in several processes; results in order, and never more days waiting than processes."""
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
    from multiprocessing import get_context

    done, waiting = 0, list[tuple[int, Future[Result]]]()
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
            raise WattlensError("a process of compaction was ended by the system (memory?); use fewer jobs") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _compact_day(job: _Job, progress: Progress | None = None) -> Result:
    drafts: dict[str, Draft] = {}
    read: set[str] = set()
    faults = list(job.faults)
    places = Places(job.sites, index.start_ns(job.day))
    done, total = 0, sum(map(len, job.nodes))
    try:
        for entries in job.nodes:
            node = Chain("", "")
            for entry in entries:
                if progress is not None:
                    progress(done, total)
                done += 1
                path = Path(entry.path)
                content = _read(node, path, entry)
                if content is None:
                    continue
                read.add(path.name)
                for site, kinds in part(content, places).items():
                    if site not in drafts:
                        drafts[site] = Draft(job.out, site, job.day)
                    drafts[site].add(content.header, kinds, path.name, content.sha256)
            faults += node.faults
            _refuse(node.faults, job.accept_faults)
            for draft in drafts.values():
                draft.end_node()
        for site in emptied(job.out, job.day, drafts, read):
            drafts[site] = Draft(job.out, site, job.day)
        statements = [drafts[site].publish(job.reason, faults) for site in sorted(drafts)]
    except OSError as error:
        raise UsageError(f"{error.filename or job.out}: cannot be written: {error.strerror}") from None
    finally:
        for draft in drafts.values():
            draft.discard()
    return Result(job.day, tuple(statements), tuple(faults))


def _read(node: Chain, path: Path, entry: Entry) -> Table | None:
    """The segment, as its header told the index it would be; None where its rows cannot be used."""
    node.last, node.head = entry.sequence - 1, ""  # the index has checked the numbers, and the link is checked below
    content = chain.add_file(node, path, entry.sequence)
    if content is None:
        return None
    if (content.header.from_ns, content.header.to_ns, content.header.previous) != (entry.from_ns, entry.to_ns, entry.previous):
        raise ChainError(f"{path}: changed while it was read; run it again")
    if entry.follower and entry.names != content.sha256:
        node.faults.append(chain.wrong_previous(Path(entry.follower), entry.names, entry.sequence, content.sha256))
    return content


def _refuse(faults: Sequence[Fault], accept_faults: bool) -> None:
    if faults and not accept_faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ChainError(f"{faults[0].line}{more}")
