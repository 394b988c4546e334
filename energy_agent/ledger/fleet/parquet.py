"""Rows in Parquet: the one file that knows pyarrow. Energy stays int64 uJ per row; nothing is summed here."""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from energy_agent.core.errors import ChainError, UsageError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import first_line
from energy_agent.core.units import decimal
from energy_agent.ledger.fleet.day_sums import DAY_COLUMNS
from energy_agent.ledger.rows.kinds import Form, SourcedRow
from energy_agent.ledger.rows.text import FIELDS, from_json


class Numbers:
    """Integers within int64, or None."""

    def __init__(self) -> None:
        self._values: array[int] | list[int | None] = array("q")

    def add(self, values: Sequence[int | None]) -> None:
        """Add values; raises OverflowError past int64."""
        if isinstance(self._values, array):
            try:
                self._values += array("q", values)  # type: ignore[arg-type]
                return
            except TypeError:  # an array cannot store None
                self._values = list(self._values)
        self._values += values

    def repeat(self, value: int, count: int) -> None:
        """Add a value so many times."""
        if isinstance(self._values, array):
            self._values += array("q", (value,)) * count
        else:
            self._values += [value] * count

    def take(self, count: int) -> "array[int] | list[int | None]":
        """Remove and return the first `count` values."""
        taken = self._values[:count]
        del self._values[:count]
        return taken


class Texts:
    """Texts, each kept once."""

    def __init__(self) -> None:
        self._words = _Words()
        self._codes = array("i")

    def add(self, values: Sequence[str]) -> None:
        """Add values."""
        self._codes += array("i", map(self._words.__getitem__, values))

    def repeat(self, value: str, count: int) -> None:
        """Add a value so many times."""
        self._codes += array("i", [self._words[value]]) * count

    def take(self, count: int) -> tuple["array[int]", list[str]]:
        """(place in the words, words) of the first so many, which then wait no more."""
        taken, words = self._codes[:count], list(self._words)
        rest = [words[code] for code in self._codes[count:]]
        self._words, self._codes = _Words(), array("i")
        self.add(rest)
        return taken, words


class Values:
    """Anything else."""

    def __init__(self) -> None:
        self._values = list[Any]()

    def add(self, values: Sequence[Any]) -> None:
        """Add values."""
        self._values += values

    def repeat(self, value: Any, count: int) -> None:
        """Add a value so many times."""
        self._values += [value] * count

    def take(self, count: int) -> list[Any]:
        """Remove and return the first `count` values."""
        taken = self._values[:count]
        del self._values[:count]
        return taken


class _Words(dict[str, int]):
    """The place of each text, in the order in which they came."""

    def __missing__(self, word: str) -> int:
        place = self[word] = len(self)
        return place


_WHO: Final = {"cluster": "string", "node": "string", "simulated": "bool_", "sequence": "int64"}
_TYPES: Final = dict.fromkeys((Form.COUNT, Form.SIGNED, Form.CELL, Form.RATIO), "int64")
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    kind: {name: _TYPES.get(form, "string") for name, form in fields.items()} for kind, fields in FIELDS.items()
}
"""Columns of each kind's file in addition to cluster, node, simulated and sequence. `labels` is JSON text."""
_WAITING: Final[Mapping[str, type[Numbers | Texts | Values]]] = {"int64": Numbers, "string": Texts}
_GROUP_ROWS: Final = 131_072
_BATCH_ROWS: Final = 16_384
_TEXT_MAX_B: Final = 64  # of a foreign file's cell that is text
_FILE: Final = {kind: f"{kind}.parquet" for kind in COLUMNS}


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"Parquet requires the extra `ledger`: {install_hint('ledger')}") from None
    return pyarrow


def decimal_type() -> Any:
    """DECIMAL(38, 0), for the microjoules of any fleet. Raises UsageError: the extra `ledger` is not installed."""
    return _pyarrow().decimal128(38, 0)


class Writer:
    """Writes one file of columns in row groups of a fixed size: memory is bounded, the same rows give the same file."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self._pa = _pyarrow()
        self._schema = self._pa.schema([(name, getattr(self._pa, kind)()) for name, kind in columns.items()])
        texts = [name for name, kind in columns.items() if kind == "string"]
        self._file = self._pa.parquet.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=texts)
        self._columns = {name: _WAITING.get(kind, Values)() for name, kind in columns.items()}
        self._waiting = 0
        self.rows = 0

    def add(self, columns: Mapping[str, Sequence[Any]], same: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Add rows, given as columns of equal length; `same` are those of which all rows have one value."""
        rows = len(next(iter(columns.values())))
        for name, waiting in self._columns.items():
            if name in same:
                waiting.repeat(same[name], rows)
            else:
                waiting.add(columns[name])
        self._waiting += rows
        while self._waiting >= _GROUP_ROWS:
            self._write(_GROUP_ROWS)

    def _write(self, count: int) -> None:
        arrays = [self._array(self._columns[field.name].take(count), field.type) for field in self._schema]
        self._file.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=_GROUP_ROWS)
        self._waiting -= count
        self.rows += count

    def _array(self, values: Any, kind: Any) -> Any:
        if isinstance(values, array):
            return self._pa.Array.from_buffers(kind, len(values), [None, self._pa.py_buffer(values)])
        if isinstance(values, tuple):
            codes, words = values
            codes = self._pa.Array.from_buffers(self._pa.int32(), len(codes), [None, self._pa.py_buffer(codes)])
            return self._pa.DictionaryArray.from_arrays(codes, self._pa.array(words, type=kind)).dictionary_decode()
        return self._pa.array(values, type=kind)

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


def read_days(source: Path) -> Iterator[SourcedRow]:
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


def read_devices(path: Path) -> set[tuple[str, tuple[str, str]]]:
    """Devices of a day's sums with their (cluster, node). Raises ChainError: they cannot be read."""
    pa = _pyarrow()
    try:
        rows = pa.parquet.read_table(path, columns=["device", "cluster", "node"]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ChainError(f"{path}: cannot be read as Parquet: {error}") from None
    return {(row["device"], (row["cluster"], row["node"])) for row in rows}


def _read_file(path: Path) -> Iterator[SourcedRow]:
    pa = _pyarrow()
    try:
        file = pa.parquet.ParquetFile(path)
        kind = (file.metadata.metadata or {}).get(b"wattlens.kind", b"").decode("ascii", "replace")
    except (pa.ArrowException, OSError) as error:
        raise ChainError(f"{path}: cannot be read as Parquet: {error}") from None
    if kind in DAY_COLUMNS:
        raise ChainError(f"{path}: contains the sums of a day, not rows; use the folder of the day")
    if kind not in COLUMNS:
        raise ChainError(f"{path}: is not a compacted file of Wattlens")
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for value in batch.to_pylist():
                cluster, node, simulated, sequence = (value.pop(name) for name in _WHO)
                if kind == "workload":
                    value["labels"] = json.loads(value["labels"])
                yield SourcedRow(cluster, node, simulated, sequence, from_json(value | {"kind": kind}))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChainError(f"{path}: is corrupted: {error}") from None
    except ChainError as error:
        raise ChainError(f"{path}: {error}") from None
    finally:
        file.close()


class ForeignTable:
    """A file written by another program. Cells are returned as text, instants in seconds since 1970, empty cells as None."""

    def __init__(self, file: BinaryIO) -> None:
        """Look at what is in it.

        Raises:
            ValueError: it is no Parquet file.
        """
        self._pa = _pyarrow()
        self._file = file
        try:
            self._table = self._pa.parquet.ParquetFile(file)
        except (self._pa.ArrowException, OSError) as error:
            raise ValueError(f"cannot be read as Parquet: {first_line(error)}") from None
        self.columns = tuple(self._table.schema_arrow.names)
        self.rows: int = self._table.metadata.num_rows

    def read(self, columns: Sequence[str], skip: int, most_bytes: int) -> Iterator[tuple[str | None, ...]]:
        """Rows after the first `skip`.

        Raises:
            ValueError: a column that is no number, instant or text, or is corrupted; or more than `most_bytes` unpacked.
        """
        for name in columns:
            self._refuse_odd(name)
        groups = [self._table.metadata.row_group(i) for i in range(self._table.num_row_groups)]
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
        if sum(c.total_uncompressed_size for c in chunks if c.path_in_schema in columns) > most_bytes:
            raise ValueError(f"has more than {most_bytes >> 20} MiB in {', '.join(columns)}")
        try:
            # A text that is there often is kept once: what a small file unpacks to stays small until its length is known.
            table = self._pa.parquet.ParquetFile(self._file, read_dictionary=list(columns))
            at = 0
            for index, group in enumerate(groups):
                if at + group.num_rows <= skip:
                    at += group.num_rows
                    continue
                for batch in table.iter_batches(batch_size=_BATCH_ROWS, row_groups=[index], columns=list(columns)):
                    if at + batch.num_rows > skip:
                        whole = batch.slice(max(0, skip - at))
                        yield from zip(*(self._text(whole.column(name), name) for name in columns), strict=True)
                    at += batch.num_rows
        except (self._pa.ArrowException, OSError, KeyError) as error:
            raise ValueError(f"is corrupted: {first_line(error)}") from None

    def _refuse_odd(self, name: str) -> None:
        """Refuse a column that is there twice, or is no number, instant or text."""
        pa, schema = self._pa, self._table.schema_arrow
        if self.columns.count(name) > 1:
            raise ValueError(f"has a duplicate column {name!r}")
        kind = schema.field(name).type
        if pa.types.is_timestamp(kind) and kind.tz is None:
            raise ValueError(f"column {name!r}: expected timestamps with a time zone")
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        kinds = ("is_timestamp", "is_integer", "is_floating", "is_decimal", "is_string", "is_large_string")
        if not any(getattr(pa.types, is_kind)(kind) for is_kind in kinds):
            raise ValueError(f"column {name!r}: expected a number, a timestamp or text, got type {str(kind)[:80]}")

    def _text(self, column: Any, name: str) -> list[str | None]:
        pa, kind = self._pa, column.type
        if pa.types.is_timestamp(kind):
            instants = column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64()).to_pylist()
            return [None if ns is None else decimal(ns, 10**9) for ns in instants]
        words = column.dictionary if pa.types.is_dictionary(kind) else column
        if pa.types.is_string(words.type) or pa.types.is_large_string(words.type):
            import pyarrow.compute

            longest = pyarrow.compute.max(pyarrow.compute.binary_length(words)).as_py() or 0
            if longest > _TEXT_MAX_B:
                raise ValueError(f"column {name!r} has a text of {longest} bytes")
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
        return texts
