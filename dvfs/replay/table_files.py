"""Tables of a workload out of files of three forms.

- a profile of `wattlens dvfs sweep` (dvfs/sweep/profile.py),
- a CSV with a column `power_limit` (W) or `sm_clock` (MHz), a time (`time_per_epoch`, `time_per_step` or `time`, s) and a power
  (`average_power` or `power`, W); rows that agree in all other columns are one workload, as in Zeus's summaries,
- a CSV as Zeus's profiler writes it: `window_name` that ends in the limit, `elapsed_time`, and `gpuN_energy` of each GPU.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dvfs.sweep.profile import parse, tables
from dvfs.tables import SettingRow, SettingTable
from energy_agent.core.errors import UsageError
from energy_agent.runtime.files import json_file

MAX_BYTES = 16 << 20
_LEAST, _MOST = 1e-9, 1e12  # of any value in a table
_KNOBS = {
    "power_limit": "power_limit_w",
    "power_limit_w": "power_limit_w",
    "sm_clock": "sm_clock_mhz",
    "sm_clock_mhz": "sm_clock_mhz",
}
_TIMES = ("time_per_epoch", "time_per_step", "time", "step_s")
_POWERS = ("average_power", "power", "power_w")


def load(path: Path) -> list[SettingTable]:
    """The tables of a file, those with at least two settings.

    Raises:
        UsageError: it cannot be read or is of none of the forms; names file and line.
    """
    raw = json_file.read(path, MAX_BYTES)
    try:
        text = raw.decode("utf-8-sig")
        measured = tables(parse(text, str(path)), path.stem) if text.lstrip().startswith("{") else _csv(text, path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: expected a profile or a CSV file: {error}") from error
    usable = [table for table in measured if len(table.rows) > 1]
    if not usable:
        raise UsageError(f"{path}: expected a workload with two or more settings, found none")
    return usable


def _csv(text: str, path: Path) -> Iterable[SettingTable]:
    reader = csv.DictReader(text.splitlines())
    columns = reader.fieldnames or ()
    knob = next((name for name in _KNOBS if name in columns), None)
    if knob is not None:
        return _summary(reader, path, knob, columns)
    if "window_name" in columns and "elapsed_time" in columns:
        return _windows(reader, path, [name for name in columns if name.startswith("gpu") and name.endswith("_energy")])
    raise UsageError(
        f"{path}: expected one of the columns {', '.join(_KNOBS)}, with a time ({', '.join(_TIMES)}) and a power "
        f"({', '.join(_POWERS)}); or the columns window_name and elapsed_time"
    )


def _summary(reader: "csv.DictReader[str]", path: Path, knob: str, columns: Sequence[str]) -> Iterable[SettingTable]:
    time = next((name for name in _TIMES if name in columns), None)
    power = next((name for name in _POWERS if name in columns), None)
    if time is None or power is None:
        raise UsageError(f"{path}: needs a time ({', '.join(_TIMES)}) and a power ({', '.join(_POWERS)})")
    named = [name for name in columns if name not in (knob, time, power)]
    groups: dict[str, dict[float, SettingRow]] = {}
    for line, row in enumerate(reader, 2):
        setting_row = SettingRow(*(_number(row, name, path, line) for name in (knob, time, power)))
        rows = groups.setdefault(" ".join(str(row[name]) for name in named) or path.stem, {})
        if setting_row.setting in rows:
            raise UsageError(f"{path}:{line}: duplicate {knob} {setting_row.setting:g} of one workload")
        rows[setting_row.setting] = setting_row
    return [_table(name, _KNOBS[knob], rows) for name, rows in groups.items()]


def _windows(reader: "csv.DictReader[str]", path: Path, energies: Sequence[str]) -> Iterable[SettingTable]:
    rows: dict[float, SettingRow] = {}
    for line, row in enumerate(reader, 2):
        limit = str(row["window_name"]).rpartition("_")[2]
        if not limit.isdigit() or not energies:
            raise UsageError(f"{path}:{line}: expected a window_name that ends in _LIMIT, and a column gpu0_energy")
        if float(limit) in rows:
            raise UsageError(f"{path}:{line}: duplicate limit {limit}")
        time_s = _number(row, "elapsed_time", path, line)
        rows[float(limit)] = SettingRow(float(limit), time_s, sum(_number(row, name, path, line) for name in energies) / time_s)
    return [_table(path.stem, "power_limit_w", rows)]


def _table(name: str, knob: str, rows: Mapping[float, SettingRow]) -> SettingTable:
    return SettingTable(name, knob, tuple(rows[setting] for setting in sorted(rows)))


def _number(row: Mapping[str, str | None], column: str, path: Path, line: int) -> float:
    try:
        value = float(row[column] or "")
    except ValueError:
        value = math.nan
    if not _LEAST <= value <= _MOST:
        raise UsageError(f"{path}:{line}: {column}: expected a number from {_LEAST:g} to {_MOST:g}, got {row[column]!r}")
    return value
