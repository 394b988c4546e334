"""DataFusion within this process, as an engine that shares no code with DuckDB."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import first_line
from energy_agent.query.port import EngineOptions, QueryResult, Row
from energy_agent.query.translation import DATAFUSION, translate, whole

_TYPES: Final = {"HUGEINT": "DECIMAL(38, 0)"}
_ROWS: Final = "rows_of_a_table"


class DataFusionEngine:
    """A session with a pool of memory that spills to the scratch folder."""

    def __init__(self, options: EngineOptions, scratch: str) -> None:
        """Raises UsageError: DataFusion is not installed."""
        try:
            import datafusion
        except ImportError:
            raise UsageError(f"--engine datafusion: needs DataFusion: {install_hint('query-datafusion')}") from None
        config = datafusion.SessionConfig().with_target_partitions(options.threads)
        runtime = datafusion.RuntimeEnvBuilder().with_temp_file_path(scratch).with_fair_spill_pool(options.memory_mb * 10**6)
        self._session = datafusion.SessionContext(config, runtime)
        self._sources = 0

    def execute(self, query: str, parameters: Sequence[Any] = (), *, apart: bool = False) -> QueryResult:
        """See `QueryEngine`."""
        frame = None
        for statement in translate(query, DATAFUSION, parameters):
            if statement.makes:
                kind = "TABLE" if statement.is_table else "VIEW"
                self._session.sql(f'CREATE OR REPLACE {kind} "{statement.makes}" AS {statement.query}').collect()
            else:
                frame = self._session.sql(statement.query)
        return _DataFusionResult(frame)

    def parquet(self, paths: Sequence[str], columns: Sequence[str]) -> str:
        """See `QueryEngine`."""
        listed, selects = ", ".join(f'"{column}"' for column in columns), []
        for path in paths:
            self._sources += 1
            self._session.register_parquet(f"file_{self._sources}", path)
            literal = path.replace("'", "''")
            selects.append(f"SELECT {listed}, '{literal}' AS filename FROM file_{self._sources}")  # noqa: S608 - our own names
        while len(selects) > 1:  # pairs of pairs: a chain of a thousand is nested too deep for its parser
            selects = [" UNION ALL ".join(f"({each})" for each in selects[i : i + 2]) for i in range(0, len(selects), 2)]
        return f"({selects[0]}) AS file_rows"

    def make_table(self, name: str, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
        """See `QueryEngine`."""
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        texts = {column: [None if v is None else str(v) for v in each] for column, each in zip(columns, values, strict=True)}
        typed = ", ".join(f'CAST("{column}" AS {_TYPES.get(kind, kind)}) AS "{column}"' for column, kind in columns.items())
        self._session.from_pydict(texts, _ROWS)
        self._session.sql(f'CREATE OR REPLACE TABLE "{name}" AS SELECT {typed} FROM {_ROWS}').collect()  # noqa: S608 - our names
        self._session.deregister_table(_ROWS)

    @contextmanager
    def named_failures(self) -> Iterator[None]:
        """Raise its errors, which are plain exceptions, as ours."""
        try:
            yield
        except WattlensError:
            raise
        except Exception as error:  # noqa: BLE001 - it has no class of its own
            raise ChainError(f"DataFusion cannot read the ledger: {first_line(error)}") from None

    def close(self) -> None:
        """See `QueryEngine`."""


class _DataFusionResult:
    """Rows, fetched batch by batch."""

    def __init__(self, frame: Any) -> None:
        self.description = [] if frame is None else [(name,) for name in frame.schema().names]
        self._rows = iter(()) if frame is None else chain.from_iterable(map(_rows, frame.execute_stream()))

    def fetchmany(self, size: int) -> list[Row]:
        return list(islice(self._rows, size))

    def fetchall(self) -> list[Row]:
        return list(self._rows)


def _rows(batch: Any) -> Iterator[Row]:
    columns = batch.to_pyarrow().to_pydict().values()
    return (tuple(map(whole, row)) for row in zip(*columns, strict=True))
