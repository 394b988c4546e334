"""The port of a query engine. Statements are written in DuckDB's dialect.

Answers are the same from every engine: integers, text, true or false, and None. Sums do not wrap: what an engine cannot hold is
an error. No engine computes with floats.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

Row = tuple[Any, ...]
EMBEDDED: Final = "duckdb"
LEAST_MB: Final = 200
"""The least memory that a query of a ledger needs."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Which engine, and what it may use. Results do not depend on them.

    Args:
        threads: number of threads; 0: one per CPU that the process may use and 125 MB of memory.
        memory_mb: megabytes, beyond which it spills to disk; 0: half of the memory that the process may use.
        address: as of `open_engine`.
    """

    threads: int = 0
    memory_mb: int = 0
    address: str = EMBEDDED


class QueryResult(Protocol):
    """The rows of a query, as cursors of DB-API 2.0 (PEP 249) give them."""

    @property
    def description(self) -> Sequence[Sequence[Any]]:
        """Names of the columns, each first in its sequence."""
        ...

    def fetchmany(self, size: int) -> list[Row]:
        """The next rows; none at the end."""
        ...

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        ...


class QueryEngine(Protocol):
    """A database of views over Parquet files."""

    def execute(self, query: str, parameters: Sequence[Any] = (), *, apart: bool = False) -> QueryResult:
        """Run statements and return the answer to the last; `apart`: other queries run while its rows are fetched."""
        ...

    def parquet(self, paths: Sequence[str], columns: Sequence[str]) -> str:
        """SQL of a table of these files: the columns, and `filename`, the path of each row's file."""
        ...

    def make_table(self, name: str, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
        """Make or replace a table of these columns (name -> type in SQL)."""
        ...

    def named_failures(self) -> AbstractContextManager[None]:
        """Raise the engine's errors as ours: ChainError for files, WattlensError for memory."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...
