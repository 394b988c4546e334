"""Compacted days of whatever a report is given: as they are, or made of segments in a scratch folder."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.ledger import chain
from energy_agent.ledger.chain import ChainFault, Progress
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import JOURNAL_NAME
from reports.ledger.days import DayStorage

SITE: Final = "site"
"""Name of the one site of a ledger without inventory."""


def _agree(state: Path) -> None:
    """Check that segments in a folder with a journal are those that the journal sealed."""
    folder = state / "segments"
    if not folder.is_dir():
        return
    report = chain.verify([folder], read_journal(state / JOURNAL_NAME))
    if report.faults:
        _refuse(report.faults)


def _refuse(faults: Sequence[ChainFault]) -> None:
    more = f" ({len(faults) - 1} more; see `wattlens ledger verify`)" if faults[1:] else ""
    raise ChainError(f"{faults[0].line}{more}")


def is_compacted(folder: Path) -> bool:
    """Whether a folder holds compacted days."""
    return next(folder.glob("*/*/r[0-9]*/manifest.json"), None) is not None


@contextmanager
def compacted(ledger: str, sites: Sites, progress: Progress | None = None) -> Iterator[DayStorage]:
    """The days of a ledger.

    Args:
        ledger: an fsspec URL of compacted days; or a local folder of segments, a state folder, or a folder of state folders.
        sites: the site of each device over time; used for segments only, because compacted days already have it.
        progress: called with the numbers of (completed, all) files during compaction of segments.

    Raises:
        UsageError: the ledger is empty.
        ChainError: a segment is damaged, missing or duplicate, or differs from what its journal sealed.
        WattlensError: the ledger has no segments yet.
    """
    local = Path(ledger.removeprefix("file://"))
    if "://" in ledger.removeprefix("file://") or is_compacted(local):
        yield DayStorage(ledger)
        return
    if not local.is_dir():
        raise UsageError(f"--ledger {ledger}: no such folder")
    states = [path.parent for path in (local / JOURNAL_NAME, *sorted(local.glob(f"*/{JOURNAL_NAME}"))) if path.exists()]
    folder = local / "segments" if states[:1] == [local] and (local / "segments").is_dir() else local
    if not chain.find([folder]):
        raise WattlensError(f"{ledger}: no segments in this ledger; an agent writes one per hour and when it stops")
    for state in states:
        _agree(state)
    with tempfile.TemporaryDirectory(prefix="wattlens-days-") as scratch:
        segments = index.build([folder])
        faults = segments.faults
        for result in compact_days(segments, Path(scratch), segments.days, sites, progress=progress):
            faults += result.faults
            if faults:
                _refuse(list(dict.fromkeys(faults)))
        yield DayStorage(scratch)
