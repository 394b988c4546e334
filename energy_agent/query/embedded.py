"""DuckDB within this process; only this file uses it. Files are streamed; what does not fit spills to a scratch folder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import first_line
from energy_agent.query.port import EngineOptions, QueryResult, Row


class DuckDbEngine:
    """The default engine."""

    def __init__(self, options: EngineOptions, scratch: str, filesystem: Any) -> None:
        """Raises UsageError: DuckDB is not installed."""
        try:
            import duckdb
        except ImportError:
            raise UsageError(f"sums of a ledger need DuckDB: {install_hint('query-node')}") from None
        self._duckdb = duckdb
        settings: dict[str, Any] = {
            "memory_limit": f"{options.memory_mb}MB",
            "threads": options.threads,
            "temp_directory": scratch,
            "preserve_insertion_order": "false",
        }
        self._db = duckdb.connect(config=settings)
        if filesystem is not None:
            self._db.register_filesystem(filesystem)

    def execute(self, query: str, parameters: Any = (), *, apart: bool = False) -> QueryResult:
        """See `QueryEngine`."""
        on = self._db.cursor() if apart else self._db
        answer: QueryResult = on.execute(query, parameters) if parameters else on.execute(query)
        return answer

    def parquet(self, paths: Sequence[str], columns: Sequence[str]) -> str:
        """See `QueryEngine`."""
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        return f"read_parquet([{listed}], filename=true, hive_partitioning=false)"

    def make_table(self, name: str, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
        """See `QueryEngine`."""
        values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=False))
        typed = ", ".join(f"CAST(unnest(${column}) AS {kind}) AS {column}" for column, kind in columns.items())
        if values:
            self.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {typed}", values)
        else:
            typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
            self.execute(f"CREATE OR REPLACE TABLE {name} ({typed})")

    @contextmanager
    def named_failures(self) -> Iterator[None]:
        """Raise DuckDB's errors as ours, and what it makes of Ctrl-C as the KeyboardInterrupt that it was."""
        duckdb = self._duckdb
        try:
            yield
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.IOException as error:
            raise ChainError(f"the ledger cannot be read: {first_line(error)}") from None
        except duckdb.OutOfMemoryException as error:
            raise WattlensError(f"the report does not fit in its memory (--memory): {first_line(error)}") from None
        except duckdb.Error as error:
            raise ChainError(
                f"a file of the ledger is corrupted, or was not written by `wattlens ledger compact`: {first_line(error)}"
            ) from None
        except RuntimeError as error:
            if str(error) != "Query interrupted":
                raise
            raise KeyboardInterrupt from None

    def close(self) -> None:
        """See `QueryEngine`."""
        self._db.close()
