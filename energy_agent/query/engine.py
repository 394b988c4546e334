"""Which query engine an address means: DuckDB in this process, DataFusion, or Spark."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable
from energy_agent.query.embedded import DuckDbEngine
from energy_agent.query.machine import usable_cpus, usable_memory_b
from energy_agent.query.port import EMBEDDED, LEAST_MB, EngineOptions, QueryEngine

_PART: Final = 2
"""Half of the memory: the rest is for Python, the file cache and other programs."""
_THREAD_MB: Final = 125
"""DuckDB's documented minimum: more threads in less memory fail."""


@contextmanager
def open_engine(options: EngineOptions, filesystem: Any = None) -> Iterator[QueryEngine]:
    """The engine of an address: `duckdb`, `datafusion`, or a master of Spark.

    Args:
        options: the address and limits.
        filesystem: of fsspec, for files that are not local; Spark reads by its own configuration.

    Raises:
        UsageError: no such engine, or it is not installed.
    """
    memory_mb = options.memory_mb or max(LEAST_MB, usable_memory_b() // _PART // 10**6)
    threads = options.threads or max(1, min(usable_cpus(), memory_mb // _THREAD_MB))
    limited = replace(options, threads=threads, memory_mb=memory_mb)
    with TemporaryDirectory(prefix="wattlens-query-") as scratch:
        engine = _open(limited, scratch, filesystem)
        try:
            yield engine
        finally:
            engine.close()


def _open(options: EngineOptions, scratch: str, filesystem: Any) -> QueryEngine:
    address = options.address
    if address == EMBEDDED:
        return DuckDbEngine(options, scratch, filesystem)
    if address == "datafusion":
        from energy_agent.query.data_fusion import DataFusionEngine

        if filesystem is not None:
            raise UsageError("--engine datafusion: expected a local folder as ledger; use duckdb or Spark for object stores")
        return DataFusionEngine(options, scratch)
    if address.startswith(("spark://", "local[", "local-cluster[")) or address == "yarn":
        from energy_agent.query.spark import SparkEngine

        return SparkEngine(options, scratch)
    raise UsageError(
        "--engine: expected duckdb, datafusion, or a master of Spark (spark://HOST:PORT, local[N], local-cluster[...], yarn), "
        f"got {printable(address[:80])!r}"
    )
