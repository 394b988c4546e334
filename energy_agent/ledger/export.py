"""Export cells with their uncertainty, or DVFS actions and their proof, as CSV, JSON lines or Parquet."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, TextIO

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import harmless
from energy_agent.ledger.fleet.parquet import Writer, columns_of
from energy_agent.ledger.rows.kinds import KINDS, Cell, DeviceFacts, SourcedRow
from energy_agent.ledger.summary import cell_bounds

COLUMNS: Final = {
    "cluster": "string",
    "node": "string",
    "simulated": "bool_",
    "sequence": "int64",
    "cell_start_ns": "int64",
    "start_ns": "int64",
    "end_ns": "int64",
    "device": "string",
    "workload": "string",
    "state": "string",
    "method": "string",
    "energy_uj": "int64",
    "low_uj": "int64",
    "high_uj": "int64",
    "systematic_uj": "int64",
    "edge_uj": "int64",
    "gpu_ns": "int64",
}
"""`sequence` is empty for what is not sealed yet. `low_uj` and `high_uj` are of the row alone: over rows the systematic parts
add, while the edges of rows that follow each other cancel; sums with their bounds come from `ledger export --sum`."""


@dataclass(frozen=True, slots=True)
class CellFilter:
    """Which cells: from_ns <= cell start < to_ns, and the names that are given."""

    from_ns: int = 0
    to_ns: int | None = None
    device: str | None = None
    workload: str | None = None

    def in_time(self, cell_start_ns: int) -> bool:
        """Whether a cell's start is within the time asked for."""
        return self.from_ns <= cell_start_ns and (self.to_ns is None or cell_start_ns < self.to_ns)

    def takes(self, cell_start_ns: int, device: str, workload: str) -> bool:
        """Whether a cell is chosen."""
        return self.in_time(cell_start_ns) and self.device in (None, device) and self.workload in (None, workload)


def table(rows: Iterable[SourcedRow], choice: CellFilter) -> Iterator[dict[str, Any]]:
    """The chosen cells as table rows, in the order of the ledger.

    Raises:
        WattlensError: a device whose gain uncertainty the ledger does not hold.
    """
    kept, gains = [], dict[str, int]()
    for located in rows:
        row = located.row
        if isinstance(row, Cell) and choice.takes(row.cell_start_ns, row.device, row.workload):
            kept.append(located)
        elif isinstance(row, DeviceFacts):
            gains[row.uuid] = max(gains.get(row.uuid, 0), row.gain_ppm)
    for located in kept:
        cell = located.row
        assert isinstance(cell, Cell)
        try:
            bounds = cell_bounds([cell], gains)
        except KeyError:
            raise WattlensError(
                f"{cell.device}: the ledger has no row with its uncertainty, so its energy is not exported"
            ) from None
        yield {
            "cluster": located.cluster,
            "node": located.node,
            "simulated": located.simulated,
            "sequence": located.sequence,
            "cell_start_ns": cell.cell_start_ns,
            "start_ns": cell.run.start_ns,
            "end_ns": cell.run.end_ns,
            "device": cell.device,
            "workload": cell.workload,
            "state": cell.state.value,
            "method": cell.method.value,
            "energy_uj": bounds.energy_uj,
            "low_uj": bounds.low_uj,
            "high_uj": bounds.high_uj,
            "systematic_uj": bounds.systematic_uj,
            "edge_uj": bounds.edge_uj,
            "gpu_ns": cell.gpu_ns,
        }


def of_kind(rows: Iterable[SourcedRow], name: str, choice: CellFilter) -> Iterator[dict[str, Any]]:
    """The matching rows of a kind that has an instant and a workload, in the order of the ledger.

    `choice` filters by both, and by the row's device if it has one. An action's `policy` is the one that requested it, or
    `actuator` for an actuator client that names no policy; its `setting` is JSON.
    """
    kind, columns = KINDS[name], columns_of(name)
    for located in rows:
        row = located.row
        if isinstance(row, kind.row) and choice.takes(kind.start_ns(row), getattr(row, "device", ""), row.workload):
            place = located.cluster, located.node, located.simulated, located.sequence
            yield dict(zip(columns, (*place, *kind.stored(row)), strict=True))


def write(
    rows: Iterable[dict[str, Any]],
    form: str,
    target: Path | None,
    columns: Mapping[str, str] = COLUMNS,
    name: str = "cells",
) -> int:
    """Write table rows to a new file, or to standard output; returns their number. `name` says in Parquet what they are.

    Raises:
        UsageError: the file is there already or cannot be written, or Parquet to standard output.
    """
    if form == "parquet":
        return _write_parquet(rows, target, columns, name)
    row_iterator = iter(rows)
    rows = chain(list(islice(row_iterator, 1)), row_iterator)  # a ledger that cannot be read leaves neither a file nor a header
    if target is None:
        return _write_text(rows, form, sys.stdout, columns)
    try:
        with target.open("x", encoding="utf-8", newline="") as file:
            return _write_text(rows, form, file, columns)
    except FileExistsError:
        raise UsageError(f"{target}: already exists; choose another name") from None
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None


def _write_text(rows: Iterable[dict[str, Any]], form: str, file: TextIO, columns: Mapping[str, str]) -> int:
    writer = csv.DictWriter(file, list(columns), lineterminator="\n")
    if form == "csv":
        writer.writeheader()
    names = [name for name, kind in columns.items() if kind == "string"]
    count = 0
    for row in rows:
        count += 1
        if form == "csv":
            writer.writerow(row | {name: harmless(row[name]) for name in names if row.get(name)})
        else:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")
    return count


def _write_parquet(rows: Iterable[dict[str, Any]], target: Path | None, columns: Mapping[str, str], name: str) -> int:
    if target is None:
        raise UsageError("Parquet requires an output file: set --out")
    if target.exists():
        raise UsageError(f"{target}: already exists; choose another name")
    try:
        writer = Writer(target, columns)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
    for row in rows:
        writer.add({name: [value] for name, value in row.items()})
    writer.close({"wattlens.table": name})
    return writer.rows
