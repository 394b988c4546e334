"""Spark 4, on one machine or a cluster: its workers read the files, and sums come back."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import first_line
from energy_agent.query.port import EngineOptions, QueryResult, Row
from energy_agent.query.translation import SPARK, translate, whole

_TYPES: Final = {"VARCHAR": "string", "BIGINT": "bigint", "INTEGER": "int", "HUGEINT": "decimal(38, 0)", "BOOLEAN": "boolean"}
_PATH: Final = r"^file:(//)?"


class SparkEngine:
    """A session of the master that the options name."""

    def __init__(self, options: EngineOptions, scratch: str) -> None:
        """Raises UsageError: pyspark is not installed. WattlensError: there is no Java, or the master does not respond."""
        try:
            from py4j.protocol import Py4JError
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ImportError:
            raise UsageError(f"--engine {options.address}: needs pyspark and Java: {install_hint('query-spark')}") from None
        self._failures = (PySparkException, Py4JError)
        settings = {
            "spark.driver.memory": f"{options.memory_mb}m",
            "spark.local.dir": scratch,
            "spark.log.level": "OFF",
            "spark.sql.ansi.enabled": "true",  # what overflows is an error
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": str(2 * options.threads),
            "spark.sql.warehouse.dir": f"{scratch}/warehouse",
            "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",  # else a task for each file
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        builder = SparkSession.builder.master(options.address).appName("wattlens")
        for name, value in settings.items():
            builder = builder.config(name, value)
        try:
            self._session = builder.getOrCreate()
        except self._failures as error:
            raise WattlensError(f"--engine {options.address}: Spark does not start: {first_line(error)}") from None
        logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # failures are raised
        self._sources = 0

    def execute(self, query: str, parameters: Sequence[Any] = (), *, apart: bool = False) -> QueryResult:
        """See `QueryEngine`."""
        frame = None
        for statement in translate(query, SPARK, parameters):
            frame = self._session.sql(statement.query)
            if statement.makes:
                (frame.persist() if statement.is_table else frame).createOrReplaceTempView(statement.makes)
        return _SparkResult(frame)

    def parquet(self, paths: Sequence[str], columns: Sequence[str]) -> str:
        """See `QueryEngine`."""
        from pyspark.sql.functions import col, expr, regexp_replace, url_decode

        addresses = [path.replace("s3://", "s3a://", 1) if path.startswith("s3://") else path for path in paths]
        raw = regexp_replace(regexp_replace(col("_metadata.file_path"), _PATH, ""), "^s3a://", "s3://")
        path = url_decode(regexp_replace(raw, r"\+", "%2B"))
        self._sources += 1
        name = f"files_{self._sources}"
        chosen = [expr(f"`{column}`") for column in columns]
        frame = self._session.read.parquet(*addresses).select(*chosen, path.alias("filename"))
        frame.createOrReplaceTempView(name)
        return name

    def make_table(self, name: str, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
        """See `QueryEngine`."""
        from decimal import Decimal

        wide = [kind == "HUGEINT" for kind in columns.values()]
        typed = [
            tuple(Decimal(v) if is_wide and v is not None else v for v, is_wide in zip(row, wide, strict=True)) for row in rows
        ]
        schema = ", ".join(f"`{column}` {_TYPES[kind]}" for column, kind in columns.items())
        self._session.createDataFrame(typed, schema).createOrReplaceTempView(name)

    @contextmanager
    def named_failures(self) -> Iterator[None]:
        """Raise Spark's errors as ours."""
        try:
            yield
        except self._failures as error:
            raise ChainError(f"Spark cannot read the ledger: {first_line(error)}") from None

    def close(self) -> None:
        """See `QueryEngine`."""
        self._session.stop()


class _SparkResult:
    """Rows, fetched partition by partition."""

    def __init__(self, frame: Any) -> None:
        self.description = [(name,) for name in frame.columns]
        self._frame = frame
        self._rows: Iterator[Row] | None = None

    def fetchmany(self, size: int) -> list[Row]:
        if self._rows is None:
            self._rows = self._frame.toLocalIterator()
        return [tuple(map(whole, row)) for row in islice(self._rows, size)]

    def fetchall(self) -> list[Row]:
        rows = self._frame.collect() if self._rows is None else self._rows
        return [tuple(map(whole, row)) for row in rows]
