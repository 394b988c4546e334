"""Read rows from a state folder (journal and segments), a folder of segments, or compacted Parquet."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.ledger import chain
from energy_agent.ledger.fleet.parquet import read_days
from energy_agent.ledger.journal.view import JournalView, read_journal
from energy_agent.ledger.rows.kinds import Cell, EdgeRow, SourcedRow
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN
from energy_agent.ledger.segments import segment

JOURNAL_NAME = "journal.db"


def no_ledger(source: Path) -> UsageError:
    """The error of a place without a ledger."""
    return UsageError(f"{source}: expected a journal, segments or compacted days, found none")


def read_rows(source: Path) -> Iterator[SourcedRow]:
    """Every row of a ledger, segment by segment; the open rows of a state folder's journal come last.

    Raises:
        UsageError: nothing there that is a ledger; raised at the call, not at the first row.
        ChainError: a damaged segment.
        JournalError: a damaged journal.
    """
    if (source / JOURNAL_NAME).exists():
        return _state_folder(source)
    if is_compacted(source):
        return read_days(source)
    files = chain.find([source])
    if not files:
        raise no_ledger(source)
    return (row for path in files for row in _segment(segment.read(path)))


def is_compacted(source: Path) -> bool:
    """Whether a path is compacted Parquet rather than segments."""
    if source.suffix == ".parquet" or ((source / "manifest.json").exists() and any(source.glob("*.parquet"))):
        return True
    return source.is_dir() and next(source.rglob("r[0-9]*/manifest.json"), None) is not None  # a report has one as well


def _state_folder(source: Path) -> Iterator[SourcedRow]:
    """The journal is read first: what it calls sealed is then surely there, and what is sealed later is not read twice."""
    view = read_journal(source / JOURNAL_NAME)
    for entry in view.segments:
        path = source / "segments" / entry.name
        data = segment.expand(entry.body, entry.name) if entry.body is not None else segment.load(path)
        yield from _segment(segment.decode(data, str(path)))
    yield from _open_rows(view)


def _segment(content: segment.Content) -> Iterator[SourcedRow]:
    header = content.header
    for row in content.rows:
        yield SourcedRow(header.cluster, header.node, header.simulated, header.sequence, row)


def _open_rows(view: JournalView) -> Iterator[SourcedRow]:
    who = view.identity
    for row in [*view.book.open_rows(), *view.book.facts.values()]:
        if isinstance(row, Cell) or (isinstance(row, EdgeRow) and row.workload):
            # The journal knows the share at a run's end alone, and a segment none: between rows it is not known.
            row = replace(row, run=replace(row.run, last_ppm=SHARE_UNKNOWN))
        yield SourcedRow(who.cluster, who.node, who.simulated, None, row)
