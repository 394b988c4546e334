"""A ledger of any kind as tables in DuckDB: rows of a record in memory, or the files of a fleet's compacted days.

All statements are made of the same SQL (reports/sql).
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from energy_agent.ledger.chain import Progress
from energy_agent.ledger.fleet.sites import Sites
from reports.inputs.organisation import Organisation
from reports.ledger.days import find_days, overlapping, verify_files
from reports.ledger.scratch import SITE, compacted
from reports.ledger.store import DayDatabase, kind_file, open_memory, open_store
from reports.ledger.sums import SiteWindow
from wattlens.usage.record import TABLES, EnergyRecord

_READ: Final = ("holder_day", "span_day", "workload_cell", "tokens", "steps", "phase", "gap", "workload", "device")
_ROWS: Final = ("cell", "time", "span")


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """Tables of a period [start_ns, end_ns).

    Args:
        source: where they come from, for people.
        first_ns, last_ns: between which times the source has anything, of this period or not; None: unknown.
    """

    store: DayDatabase
    source: str
    start_ns: int
    end_ns: int
    simulated: bool
    first_ns: int | None
    last_ns: int | None


@contextmanager
def open_record(record: EnergyRecord) -> Iterator[OpenLedger]:
    """The tables of a record."""
    days = record.days() or [record.start_ns]
    with open_memory({SITE: SiteWindow(record.start_ns, record.end_ns)}) as store:
        for kind, columns in TABLES.items():
            values = record.tables[kind]
            places = [days[min(bisect_left(days, day_ns), len(days) - 1)] if day_ns else "" for day_ns in values["day_ns"]]
            store.rows_view(kind, columns, {**values, "filename": [str(place) for place in places]})
        paths = {"": days[0]} | {str(day_ns): day_ns for day_ns in days}
        store.files_table({path: (SITE, day_ns, record.start_ns, record.end_ns) for path, day_ns in paths.items()})
        yield OpenLedger(
            store, record.source, record.start_ns, record.end_ns, record.simulated, record.first_ns, record.last_ns
        )


@contextmanager
def open_days(
    ledger: str, start_ns: int, end_ns: int, organisation: Organisation | None = None, progress: Progress | None = None
) -> Iterator[OpenLedger]:
    """The days of a folder or fsspec URL, or those of segments, which are compacted into a scratch folder first.

    Args:
        ledger: where.
        start_ns: the start of the period, which begins and ends with a cell.
        end_ns: its end.
        organisation: whose inventory gives the site of each device, for segments.
        progress: called with the numbers of (completed, all) files.

    Raises:
        UsageError: nothing there that is a ledger.
        ChainError: a file is not what its day's manifest says.
    """
    sites = Sites({}, SITE)
    if organisation is not None:
        names = sorted(organisation.sites)
        sites = organisation.stays(names[0] if len(names) == 1 else None if names else SITE)
    with compacted(ledger, sites, progress) as system:
        days = find_days(system)
        chosen = overlapping(days, start_ns, end_ns)
        verify_files(system, chosen, [kind_file(kind) for kind in _READ])
        cut = [day for day in chosen if day.start_ns < start_ns or day.end_ns > end_ns]
        verify_files(system, cut, [kind_file(kind) for kind in _ROWS])
        with open_store(system, chosen, {day.site: SiteWindow(start_ns, end_ns) for day in chosen}) as store:
            first_ns, last_ns = min(day.start_ns for day in days), max(day.end_ns for day in days)
            simulated = any(day.simulated for day in chosen)
            yield OpenLedger(store, f"days {ledger}", start_ns, end_ns, simulated, first_ns, last_ns)
