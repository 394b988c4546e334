"""Compacted days as a database, in any engine of energy_agent/query. The SQL in reports/sql also works in Trino.

Memory is bounded by the sums, not by the rows: files are streamed, and what does not fit spills to a scratch folder.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final, TypeVar

from energy_agent.core.text import UNPRINTABLE, printable
from energy_agent.ledger.fleet.day_sums import DAY_COLUMNS
from energy_agent.ledger.fleet.parquet import columns_of, file_name
from energy_agent.query.engine import open_engine
from energy_agent.query.port import EngineOptions, QueryEngine, QueryResult, Row
from reports.ledger.days import Day, DayStorage
from reports.ledger.sums import SiteWindow

NAME_MAX: Final = 512
"""Characters of a name that a report keeps; the ledger's rows may have longer ones."""
_KEYS: Final = frozenset({"cluster", "node", "device", "uuid", "workload", "labels", "state", "method"})
"""Columns that rows are joined by, as the ledger has them; `records` and `attribution` return them as they may be printed."""
_SQL: Final = {"int64": "BIGINT", "string": "VARCHAR", "bool_": "BOOLEAN"}
_WHOLE_DAY: Final = ("holder_day", "span_day")
METER_SUMS: Final = ("workload", "holder_day", "span_day")
"""What is read of a building's meters of every day."""
METER_ROWS: Final = ("cell", "span", "gap")
"""And of some days."""
PROOF: Final = ("analysis", "pair")
"""Tables with savings."""
_COLUMNS_OF_VIEW: Final[Mapping[str, Mapping[str, str]]] = {
    **DAY_COLUMNS,
    **{f"edge_{kind}": columns_of(kind) for kind in ("cell", "time", "span", "gap")},
    **{f"all_{kind}": columns_of(kind) for kind in ("tokens", "steps", "phase", "gap", "action", "workload", "device")},
    **{f"meter_{kind}": DAY_COLUMNS[kind] if kind in DAY_COLUMNS else columns_of(kind) for kind in METER_SUMS},
    **{f"proof_{kind}": columns_of(kind) for kind in PROOF},
}
"""Views over the files of days: columns by the kind of file, which stands after the first `_`; day sums have no prefix."""
_RENAMED: Final = {"group": "group_name"}
"""Columns whose names are words of SQL."""


USUAL: Final = EngineOptions()
T = TypeVar("T")


def sql(name: str) -> str:
    """One of the SQL files."""
    return files("reports").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")


def statements(name: str) -> dict[str, str]:
    """The statements of a file by the name in the comment before each."""
    queries = {}
    for text in sql(name).split(";\n"):
        head = next((line for line in text.splitlines() if line.startswith("-- ") and ":" in line), "")
        if "SELECT" in text:
            queries[head[3:].partition(":")[0]] = text
    return queries


class DayDatabase:
    """The days of a report as a database."""

    def __init__(self, engine: QueryEngine, windows: Mapping[str, SiteWindow]) -> None:
        self._engine = engine
        self.windows = windows
        self._rest = statements("rest") | statements("job_rest")

    def run(self, name: str) -> None:
        """Run an SQL file that makes tables and views."""
        self._execute(sql(name))

    def sum_by_day(self) -> None:
        """Make the sums by day that attribution begins with; names are made printable in these few rows (`_view`)."""
        self.run("by_day")
        printed = ", ".join(_select_column(name, "string") for name in ("model", "phase"))
        query = f"SELECT site, day_ns, cluster, node, workload, tokens, {printed} FROM token_sum"  # noqa: S608 - no input
        self._execute(f"CREATE OR REPLACE VIEW token_day AS {query}")

    def files_view(self, name: str, columns: Mapping[str, str], paths: Sequence[str]) -> None:
        """A view over Parquet files with the path of each row's file; without files it is empty."""
        if not paths:
            nothing = ", ".join(
                f"CAST(NULL AS {_SQL[kind]}) AS {_RENAMED.get(column, column)}" for column, kind in columns.items()
            )
            self._execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {nothing}, CAST(NULL AS VARCHAR) AS filename WHERE false")
            return
        with self._engine.named_failures():
            source = self._engine.parquet(paths, tuple(columns))
        self._view(name, columns, source)

    def rows_view(self, kind: str, columns: Mapping[str, str], values: Mapping[str, Sequence[Any]]) -> None:
        """The rows of a kind from memory instead of files, given as columns; `filename` is that of their row in `file`."""
        typed = {name: _SQL[each] for name, each in columns.items()} | {"filename": "VARCHAR"}
        self.table(f"rows_{kind}", typed, zip(*(values[name] for name in typed), strict=True))
        self._view(kind if kind in DAY_COLUMNS else f"all_{kind}", columns, f"rows_{kind}")

    def _view(self, name: str, columns: Mapping[str, str], source: str) -> None:
        summed = name == "all_tokens"  # most rows of a period, which `sum_by_day` reads
        chosen = ", ".join(_select_column(column, "" if summed else kind) for column, kind in columns.items())
        self._execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {chosen}, filename FROM {source}")  # noqa: S608 - no input

    def files_table(self, places: Mapping[str, tuple[str, int, int, int]]) -> None:
        """Make the table `file` of site, day and window by path, and the views of what is in the period."""
        columns = {"path": "VARCHAR", "site": "VARCHAR", "day_ns": "BIGINT", "from_ns": "BIGINT", "to_ns": "BIGINT"}
        self.table("file", columns, ((path, *place) for path, place in sorted(places.items())))
        self.run("within")
        self.run("pieces")

    def open_meters(self, system: DayStorage, days: Iterable[Day]) -> None:
        """Open the rows of the building's meters of these days, and no other."""
        for kind in METER_ROWS:
            name = kind_file(kind)
            paths = [system.address(day.path(name)) for day in days if name in day.files]
            self.files_view(f"meter_{kind}", columns_of(kind), paths)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The answer to a query."""
        answer = self._execute(query, parameters)
        with self._engine.named_failures():
            return answer.fetchall()

    def answer(self, name: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The answer to one of the statements of rest.sql or job_rest.sql."""
        return self.rows(self._rest[name], parameters)

    def records(self, kind: type[T], name: str) -> tuple[T, ...]:
        """The answer to one of the statements of rest.sql, or of an SQL file: each column fills the field of its name."""
        answer = self._execute(self._rest.get(name) or sql(name))
        fields = ["device_class" if column[0] == "class" else column[0] for column in answer.description]
        rows = iter(lambda: self._fetch(answer, 50_000), [])
        return tuple(
            kind(
                **{
                    field: printable(value[:NAME_MAX]) if isinstance(value, str) else int(value)
                    for field, value in zip(fields, row, strict=True)
                }
            )
            for values in rows
            for row in values
        )

    def query(self, name: str) -> list[Row]:
        """The answer of an SQL file that asks one thing."""
        return self.rows(sql(name))

    def stream(self, query: str, size: int = 50_000) -> Iterator[Row]:
        """The answer row by row, by a cursor of its own: memory stays that of a few rows."""
        answer = self._execute(query, apart=True)
        while batch := self._fetch(answer, size):
            yield from batch

    def table(self, name: str, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
        """Make a table of these columns (name -> SQL type)."""
        with self._engine.named_failures():
            self._engine.make_table(name, columns, rows)

    def _execute(self, query: str, parameters: Sequence[Any] = (), *, apart: bool = False) -> QueryResult:
        with self._engine.named_failures():
            return self._engine.execute(query, parameters, apart=apart)

    def _fetch(self, answer: QueryResult, size: int) -> list[Row]:
        with self._engine.named_failures():
            return answer.fetchmany(size)


def _select_column(column: str, kind: str) -> str:
    """A column of a view; names that figures are grouped by as they may be printed, so that names that look alike are one."""
    name = _RENAMED.get(column, column)
    if kind != "string" or column in _KEYS:
        return f'"{column}" AS {name}'
    return f"regexp_replace(left(\"{column}\", {NAME_MAX}), '{UNPRINTABLE}', '?', 'g') AS {name}"


@contextmanager
def open_store(
    system: DayStorage,
    days: Sequence[Day],
    windows: Mapping[str, SiteWindow],
    meter_days: Sequence[Day] = (),
    proof_days: Sequence[Day] = (),
    limits: EngineOptions = USUAL,
) -> Iterator[DayDatabase]:
    """The store of these days.

    Args:
        system: file system of their files.
        days: the newest statements of every day that overlaps its site's window.
        windows: the period of each site.
        meter_days: days whose rows of the building's meters are needed as well, as for twelve months.
        proof_days: days whose rows of steering savings are needed.
        limits: the engine, threads and memory.

    Raises:
        UsageError: the engine is not installed.
    """
    with open_engine(limits, None if system.local else system.fs) as engine:
        store = DayDatabase(engine, windows)
        _views(store, system, days, meter_days, proof_days)
        yield store


@contextmanager
def open_memory(windows: Mapping[str, SiteWindow], limits: EngineOptions = USUAL) -> Iterator[DayDatabase]:
    """A store without files, in which all views are empty until `rows_view` and `files_table` fill them.

    Raises:
        UsageError: the engine is not installed.
    """
    with open_engine(limits) as engine:
        store = DayDatabase(engine, windows)
        for name, columns in _COLUMNS_OF_VIEW.items():
            store.files_view(name, columns, ())
        yield store


def _views(
    store: DayDatabase, system: DayStorage, days: Sequence[Day], meter_days: Sequence[Day], proof_days: Sequence[Day]
) -> None:
    """Views over the files: day sums of whole days, rows of those that a window cuts."""
    whole = [d for d in days if not _cut(d, store.windows[d.site])]
    cut = [d for d in days if _cut(d, store.windows[d.site])]
    places: dict[str, tuple[str, int, int, int]] = {}

    def placed(kind: str, of: Iterable[Day]) -> list[str]:
        paths = []
        for day in of:
            if kind_file(kind) in day.files:
                path = system.address(day.path(kind_file(kind)))
                paths.append(path)
                window = store.windows[day.site]
                places[path] = (day.site, day.start_ns, window.start_ns, window.end_ns)
        return paths

    metered = list({day.path(""): day for day in (*days, *meter_days)}.values())
    of_days = {"edge_": cut, "all_": days, "meter_": metered, "proof_": proof_days}
    for name, columns in _COLUMNS_OF_VIEW.items():
        prefix = next((prefix for prefix in of_days if name.startswith(prefix)), "")
        of = of_days.get(prefix, whole if name in _WHOLE_DAY else days)
        store.files_view(name, columns, placed(name.removeprefix(prefix), of))
    for kind in METER_ROWS:
        placed(kind, metered)
    store.files_table(places)


def kind_file(kind: str) -> str:
    """Name of a kind's file."""
    return f"{kind}.parquet" if kind in DAY_COLUMNS else file_name(kind)


def _cut(day: Day, window: SiteWindow) -> bool:
    return day.start_ns < window.start_ns or day.end_ns > window.end_ns
