"""Rows in Parquet: the one file that knows pyarrow. Energy stays int64 uJ per row; nothing is summed here."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import ChainError, UsageError
from energy_agent.ledger.reading import Located
from energy_agent.ledger.row_text import from_json, to_json

_WHO: Final = {"cluster": "string", "node": "string", "simulated": "bool_", "sequence": "int64"}
_RUN: Final = dict.fromkeys(("start_ns", "end_ns", "edge_first_uj", "edge_inner_uj", "edge_last_uj"), "int64")
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "cell": {"cell_start_ns": "int64", "device": "string", "workload": "string", "state": "string", "method": "string"}
    | {"energy_uj": "int64", "gpu_ns": "int64"}
    | _RUN,
    "span": {"cell_start_ns": "int64", "device": "string", "workload": "string"} | _RUN,
    "gap": {"cell_start_ns": "int64", "device": "string", "reason": "string"}
    | {"start_ns": "int64", "end_ns": "int64", "bound_uj": "int64"},
    "tokens": {"cell_start_ns": "int64", "workload": "string", "model": "string", "phase": "string"}
    | {"start_ns": "int64", "end_ns": "int64", "tokens": "int64"},
    "steps": {"cell_start_ns": "int64", "workload": "string", "phase": "string"}
    | {"start_ns": "int64", "end_ns": "int64", "steps": "int64"},
    "action": {"t_ns": "int64", "device": "string", "workload": "string", "policy": "string", "action": "string"}
    | {"setting": "string", "outcome": "string"},
    "workload": {"workload": "string", "since_ns": "int64", "workload_kind": "string", "labels": "string"},
    "device": {"device": "string", "since_ns": "int64", "sku": "string", "gain_ppm": "int64"},
}
"""Columns of each kind's file, beside cluster, node, simulated and sequence. `labels` is JSON text."""
_GROUP_ROWS: Final = 131_072
_FILE: Final = {kind: f"{kind}.parquet" for kind in COLUMNS}


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs the extra `ledger`: pip install 'wattlens[ledger]'") from None
    return pyarrow


class Writer:
    """Writes one file of columns in row groups of a fixed size: memory is bounded, the same rows give the same file."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self._pa = _pyarrow()
        self._schema = self._pa.schema([(name, getattr(self._pa, kind)()) for name, kind in columns.items()])
        self._file = self._pa.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._columns: dict[str, list[Any]] = {name: [] for name in columns}
        self._waiting = 0
        self.rows = 0

    def add(self, columns: Mapping[str, list[Any]]) -> None:
        """Add rows, given as columns of equal length."""
        for name, values in self._columns.items():
            values.extend(columns[name])
        self._waiting += len(next(iter(columns.values())))
        while self._waiting >= _GROUP_ROWS:
            self._write(_GROUP_ROWS)

    def _write(self, count: int) -> None:
        arrays = []
        for field in self._schema:
            values = self._columns[field.name]
            arrays.append(self._pa.array(values[:count], type=field.type))
            del values[:count]
        self._file.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=_GROUP_ROWS)
        self._waiting -= count
        self.rows += count

    def close(self, metadata: Mapping[str, str]) -> None:
        """Write what waits, and the file's key-value metadata."""
        if self._waiting:
            self._write(self._waiting)
        self._file.add_key_value_metadata(dict(metadata))
        self._file.close()


def columns_of(kind: str) -> dict[str, str]:
    """Columns of a kind's file with their pyarrow types."""
    return dict(_WHO) | dict(COLUMNS[kind])


def file_name(kind: str) -> str:
    """Name of a kind's file within a compacted day."""
    return _FILE[kind]


def located_columns(rows: Iterable[Located]) -> dict[str, dict[str, list[Any]]]:
    """Rows as columns, by kind."""
    by_kind: dict[str, dict[str, list[Any]]] = {}
    for located in rows:
        value = to_json(located.row)
        kind = value.pop("kind")
        if kind == "workload":
            value["labels"] = json.dumps(value["labels"], sort_keys=True, separators=(",", ":"))
        columns = by_kind.get(kind)
        if columns is None:
            columns = by_kind[kind] = {name: [] for name in columns_of(kind)}
        columns["cluster"].append(located.cluster)
        columns["node"].append(located.node)
        columns["simulated"].append(located.simulated)
        columns["sequence"].append(located.sequence)
        for name, item in value.items():
            columns[name].append(item)
    return by_kind


def read_days(source: Path) -> Iterator[Located]:
    """Rows of one Parquet file, or of every compacted day below a folder, the newest statement of each.

    Raises:
        ChainError: a file that is not one of ours.
    """
    if source.is_file():
        yield from _read_file(source)
        return
    newest: dict[Path, Path] = {}
    for manifest in sorted(source.rglob("manifest.json")):
        if not manifest.parent.name.startswith("."):  # one being written
            newest[manifest.parent.parent] = manifest.parent  # r0000, r0001, ...: the last in order is the newest
    for folder in newest.values():
        for kind in COLUMNS:
            path = folder / file_name(kind)
            if path.exists():
                yield from _read_file(path)


def _read_file(path: Path) -> Iterator[Located]:
    pa = _pyarrow()
    try:
        file = pa.parquet.ParquetFile(path)
        kind = (file.metadata.metadata or {}).get(b"wattlens.kind", b"").decode("ascii", "replace")
    except (pa.ArrowException, OSError) as error:
        raise ChainError(f"{path}: cannot be read as Parquet: {error}") from None
    if kind not in COLUMNS:
        raise ChainError(f"{path}: is not a compacted file of Wattlens")
    try:
        for batch in file.iter_batches(batch_size=16_384):
            for value in batch.to_pylist():
                cluster, node, simulated, sequence = (value.pop(name) for name in _WHO)
                if kind == "workload":
                    value["labels"] = json.loads(value["labels"])
                yield Located(cluster, node, simulated, sequence, from_json(value | {"kind": kind}))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChainError(f"{path}: is corrupted: {error}") from None
    except ChainError as error:
        raise ChainError(f"{path}: {error}") from None
    finally:
        file.close()
