"""Read the building's meters from compacted days: one book per site, over the period and the twelve months before its end.

A day on which a meter was read without a gap comes from the day sums; only other days need rows. So a year of many meters
takes seconds to read.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from energy_agent.core.energy import Method
from energy_agent.core.errors import ChainError, WattlensError
from energy_agent.core.meters.facility import Role
from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.fleet.parquet import columns_of
from energy_agent.ledger.rows.kinds import CELL_NS, PPM, Row
from energy_agent.ledger.rows.text import from_json
from energy_agent.ledger.rows.uncertainty import EdgeRun
from energy_agent.site.building.pue import YEAR_NS
from reports.ledger.days import DAY_NS
from reports.ledger.store import METER_ROWS, DayDatabase
from reports.ledger.sums import SiteWindow
from reports.period import utc_text

_BY_CELL: Final = frozenset({Role.TOTAL, Role.RENEWABLE})
"""Meters whose cells are needed in the period: grid energy is joined with its carbon intensity by hour. Meters below one
with a gap fill it by cell."""

_METHODS: Final = frozenset(method.value for method in Method)

_Key = tuple[str, int, str]  # site, midnight UTC, device


@dataclass(slots=True)
class _Day:
    """One meter's data in the day sums."""

    runs: list[EdgeRun] = field(default_factory=list)
    chains: list[tuple[int, int, str]] = field(default_factory=list)  # start and end of each run, and whose it is
    gap_ns: int = 0
    once_ns: int = 0  # how long it was read, in each cell no more than its length
    energy_uj: dict[Method, int] = field(default_factory=dict)
    read_ns: int = 0

    @property
    def whole(self) -> bool:
        """Whether every cell was metered, once and without a gap. The day's sums then contain everything that its rows do."""
        return self.once_ns == self.read_ns == DAY_NS and not self.gap_ns and len(self.runs) == 1


def read_books(
    store: DayDatabase, windows: Mapping[str, SiteWindow], read_rows_of: Callable[[frozenset[tuple[str, int]]], None]
) -> Mapping[str, FacilityBook]:
    """Return the book of each site that has meters.

    Args:
        store: its days.
        windows: the periods that each site's book must cover: this period, its cells, and the twelve months that end with it.
        read_rows_of: called with each (site, midnight UTC) whose rows are needed, before they are read; opens them.

    Raises:
        ChainError: a row is not valid.
        WattlensError: two chains record a meter at the same time, so its joules would count twice.
    """
    books: dict[str, FacilityBook] = {}
    for site, row in _rows(store, "workload"):
        _add(books.setdefault(site, FacilityBook(site)), site, row)
    year_ns = {site: w.end_ns - w.end_ns % CELL_NS - YEAR_NS for site, w in windows.items() if site in books}
    days_by_key = {key: day for key, day in _days(store).items() if key[0] in year_ns and key[1] + DAY_NS > year_ns[key[0]]}
    by_rows = _by_rows(days_by_key, books, windows)
    for (site, day_ns, device), day in days_by_key.items():
        if (site, day_ns, device) not in by_rows:
            books[site].add_day(device, day_ns, day.energy_uj, day.runs[0])
    read_rows_of(frozenset((site, day_ns) for site, day_ns, _ in by_rows))
    store.table("meter_by_rows", {"site": "VARCHAR", "day_ns": "BIGINT", "device": "VARCHAR"}, sorted(by_rows))
    for kind in METER_ROWS:
        for site, row in _rows(store, kind):
            _add(books[site], site, row)
    return {site: book for site, book in sorted(books.items()) if not book.empty}


def _by_rows(
    days: Mapping[_Key, _Day], books: Mapping[str, FacilityBook], windows: Mapping[str, SiteWindow]
) -> frozenset[_Key]:
    """The days of a meter whose sums do not do.

    Those are days that were not metered whole, in which a meter of the site came, went or changed, or which a window cuts; and
    in the period, days of meters of which every cell counts.
    """
    apart: dict[str, set[int]] = {}
    for site in {site for site, _, _ in days}:
        start_ns, end_ns = windows[site].start_ns, windows[site].end_ns
        last_ns = end_ns - end_ns % CELL_NS
        edges = (start_ns - start_ns % CELL_NS, end_ns + -end_ns % CELL_NS, last_ns, last_ns - YEAR_NS)
        apart[site] = {t - t % DAY_NS for t in (*(t for t in edges if t % DAY_NS), *books[site].changed_ns())}

    def within(site: str, day_ns: int) -> bool:
        return day_ns < windows[site].end_ns and day_ns + DAY_NS > windows[site].start_ns

    whole = Counter((site, device) for (site, day_ns, device), day in days.items() if day.whole and within(site, day_ns))
    lengths = {site: w.end_ns + -w.end_ns % DAY_NS - (w.start_ns - w.start_ns % DAY_NS) for site, w in windows.items()}
    gapped = {(site, device) for site, _, device in days if whole[site, device] * DAY_NS < lengths[site]}

    def needed(key: _Key, day: _Day) -> bool:
        site, day_ns, device = key
        by_cell = books[site].roles(device) & _BY_CELL or (site, books[site].parent_of(device)) in gapped
        return not day.whole or day_ns in apart[site] or (within(site, day_ns) and bool(by_cell))

    return frozenset(key for key, day in days.items() if needed(key, day))


def _days(store: DayDatabase) -> dict[_Key, _Day]:
    days: dict[_Key, _Day] = {}
    edges = "p.start_ns, p.end_ns, p.edge_first_uj, p.edge_inner_uj, p.edge_last_uj"
    spans = _query("span_day", f"{_KEY}, p.cluster, p.node, p.gap_ns, p.metered_ns, {edges}")
    for *key, cluster, node, gap_ns, once_ns, start_ns, end_ns, first, inner, last in store.stream(spans):
        day = days.setdefault(tuple(key), _Day())
        day.runs.append(EdgeRun(start_ns, end_ns, first, inner, last, PPM))
        day.chains.append((start_ns, end_ns, f"{cluster}/{node}"))
        day.gap_ns += gap_ns
        day.once_ns += once_ns
    for *key, method, energy_uj, read_ns in store.stream(_query("holder_day", f"{_KEY}, p.method, p.energy_uj, p.gpu_ns")):
        if method not in _METHODS:
            raise ChainError(f"meters of site {key[0]}: unknown measurement method {str(method)[:40]!r}")
        day = days.setdefault(tuple(key), _Day())
        day.energy_uj[Method(method)] = day.energy_uj.get(Method(method), 0) + energy_uj
        day.read_ns += read_ns
    _refuse_twice(days)
    return days


def _refuse_twice(days: Mapping[_Key, _Day]) -> None:
    for (_, _, device), day in sorted(days.items()):
        for (_, end_ns, one), (start_ns, _, other) in pairwise(sorted(day.chains)):
            if one != other and start_ns < end_ns:
                raise WattlensError(
                    f"{device}: {one} and {other} both record it at {utc_text(start_ns)}, so its energy would count twice; "
                    "compact without one of them (two site processes that read the same meter?)"
                )


_KEY: Final = "f.site, f.day_ns, p.device"


def _query(kind: str, chosen: str, join: str = "") -> str:
    # A range rather than a pattern: row groups without a meter are passed over unread.
    name = "workload" if kind == "workload" else "device"
    return (
        f"SELECT {chosen} FROM meter_{kind} AS p JOIN file AS f ON f.path = p.filename {join}"  # noqa: S608 - our own names
        f" WHERE p.{name} >= 'meter:' AND p.{name} < 'meter;'"
    )


def _rows(store: DayDatabase, kind: str) -> Iterator[tuple[str, Row]]:
    """Rows of a kind by site: facts of every day, of the others those of days in `meter_by_rows`."""
    columns = [name for name in columns_of(kind) if name not in ("cluster", "node", "simulated", "sequence")]
    listed = ", ".join(f"p.{column}" for column in columns)
    join = "JOIN meter_by_rows AS m ON m.site = f.site AND m.day_ns = f.day_ns AND m.device = p.device"
    # Each segment repeats the metadata of its workloads.
    query = _query(kind, f"DISTINCT f.site, {listed}") if kind == "workload" else _query(kind, f"f.site, {listed}", join)
    for site, *values in store.stream(f"{query} ORDER BY {listed}"):
        record: dict[str, Any] = dict(zip(columns, values, strict=True))
        try:
            if kind == "workload":
                record["labels"] = json.loads(record["labels"])
            yield site, from_json(record | {"kind": kind})
        except (ChainError, ValueError, RecursionError) as error:
            raise ChainError(f"meters of site {site}: {kind}: {error}") from None


def _add(book: FacilityBook, site: str, row: Row) -> None:
    try:
        book.add(row)
    except ValueError as error:
        raise ChainError(f"meters of site {site}: {error}") from None
