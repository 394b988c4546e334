"""CodeCarbon's emissions.csv of laptops and cloud jobs, read as estimates for a report; and the file that the report reads.

A run that was flushed has several rows of growing totals: the last one counts. Rows that would count energy twice are refused:
those that Wattlens wrote, and runs of the whole machine that overlap on one machine.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError
from energy_agent.core.text import is_printable, separator_hint
from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.factors import bounded_file
from reports.inputs.organisation import SoftwareEstimate

FILE_MAX_B: Final = 64 << 20
COLUMNS: Final = (
    "run_id", "start_utc", "end_utc", "team", "host", "place", "kind", "energy_kwh", "co2e_kg", "basis", "source", "row",
)  # fmt: skip
_NEEDED: Final = ("timestamp", "project_name", "run_id", "duration", "emissions", "energy_consumed", "country_iso_code")
_MACHINE: Final = ("os", "cpu_model", "cpu_count", "ram_total_size", "gpu_model", "longitude", "latitude")
_ERRORS_MAX: Final = 20
CLOUD, HOST = "cloud", "host"


@dataclass(frozen=True, slots=True)
class _Run:
    """A row of CodeCarbon's file; `machine` is what it states of the machine, "" if the run is of a process alone."""

    estimate: SoftwareEstimate
    machine: str
    where: str


def read_runs(paths: Sequence[Path], zone: ZoneInfo, host: str = "", team: str = "") -> tuple[SoftwareEstimate, ...]:
    """Runs of CodeCarbon's files, by start.

    Args:
        paths: the files.
        zone: time zone of the machines, since CodeCarbon writes local times without one.
        host: name of the machine, as an agent would name its node; "": not known.
        team: of all runs; "": each run's project is its team.

    Raises:
        UsageError: a file is not CodeCarbon's, a row is wrong or counts twice; all errors, one line each with file and row.
    """
    runs: dict[str, _Run] = {}
    faults: list[str] = []
    for path in paths:
        for number, row in _rows(path):
            try:
                run = _run(row, path, number, zone, host, team)
            except ValueError as error:
                faults.append(f"{path}, row {number}: {error}")
                continue
            earlier = runs.get(run.estimate.id)
            if earlier is None or earlier.estimate.end_ns < run.estimate.end_ns:
                runs[run.estimate.id] = run
    faults += _overlaps(runs.values())
    if faults:
        more = [f"and {len(faults) - _ERRORS_MAX} more"] if len(faults) > _ERRORS_MAX else []
        raise UsageError("\n".join([*faults[:_ERRORS_MAX], *more]))
    return tuple(sorted((run.estimate for run in runs.values()), key=lambda each: (each.start_ns, each.id)))


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        text = bounded_file.read(path, FILE_MAX_B).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected a CSV file in UTF-8") from None
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in _NEEDED if name not in (reader.fieldnames or ())]:
        hint = separator_hint(reader.fieldnames or ())
        raise UsageError(f"{path}: not an emissions.csv of CodeCarbon: column {missing[0]} is missing{hint}")
    try:
        return [(number, {k: v or "" for k, v in row.items() if k}) for number, row in enumerate(reader, 2)]
    except csv.Error as error:
        raise UsageError(f"{path}: {error}") from None


def _run(row: dict[str, str], path: Path, number: int, zone: ZoneInfo, host: str, team: str) -> _Run:
    _refuse_unprintable(row)
    if not row["run_id"]:  # every machine's file has the same name, so that nothing else distinguishes its runs
        raise ValueError("run_id: expected the ID of the run, got nothing")
    if row.get("codecarbon_version") and row.get("experiment_id", "") == row.get("region", "") != "":
        raise ValueError("was written by `wattlens report`, and its energy is in a ledger already")
    end = _moment(row["timestamp"], zone)
    seconds, kwh = _number(row, "duration"), _number(row, "energy_consumed")
    is_cloud = row.get("on_cloud") == "Y" or bool(row.get("cloud_provider"))
    place = f"{row.get('cloud_provider')}/{row.get('cloud_region')}" if is_cloud else row["country_iso_code"] or "unknown"
    version = row.get("codecarbon_version") or "of an unknown version"
    estimate = SoftwareEstimate(
        id=row["run_id"],
        start_ns=end - int(seconds * NS_PER_S),
        end_ns=end,
        team=team or row["project_name"],
        host=host,
        place=place,
        kind=CLOUD if is_cloud else HOST,
        energy_uj=int(kwh * UJ_PER_KWH),
        grams=_grams(row, "emissions"),
        basis=f"CodeCarbon {version}: life cycle",
        source=path.name,
        row=number,
    )
    machine = "|".join(row.get(name, "") for name in _MACHINE) if row.get("tracking_mode") == "machine" else ""
    return _Run(estimate, machine and (host or machine), f"{path}, row {number}")


def _refuse_unprintable(row: Mapping[str, str]) -> None:
    for name, text in row.items():
        if not is_printable(text):
            raise ValueError(f"{name[:40]}: expected one line without control characters, got {text[:80]!r}")


def _moment(text: str, zone: ZoneInfo) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"timestamp: expected a time such as 2026-07-01T12:00:00, got {text[:40]!r}") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()) * NS_PER_S


def _number(row: dict[str, str], name: str) -> Decimal:
    try:
        value = Decimal(row[name])
    except InvalidOperation:
        raise ValueError(f"{name}: expected a number, got {row[name][:40]!r}") from None
    if not value.is_finite() or not 0 <= value < 10**9:
        raise ValueError(f"{name}: expected a number from 0, got {row[name][:40]}")
    return value


def _grams(row: dict[str, str], name: str) -> Decimal | None:
    """The kg in a cell as grams; None: the cell is empty."""
    return None if row[name] == "" else _number(row, name) * 1000


def _overlaps(runs: Iterable[_Run]) -> list[str]:
    """Runs of whole machines that overlap on one machine: both contain its whole energy."""
    by_machine: dict[str, list[_Run]] = {}
    for run in runs:
        if run.machine:
            by_machine.setdefault(run.machine, []).append(run)
    faults = []
    for machine_runs in by_machine.values():
        machine_runs.sort(key=lambda run: (run.estimate.start_ns, run.estimate.end_ns))
        last = machine_runs[0]
        for after in machine_runs[1:]:
            before, last = last, max(last, after, key=lambda run: run.estimate.end_ns)
            if after.estimate.start_ns < before.estimate.end_ns - NS_PER_S:  # times are whole seconds
                faults.append(
                    f"{after.where}: overlaps {before.where}: both measured the same whole machine, so its energy would count "
                    "twice; remove one, or track processes"
                )
    return faults


def estimates_csv(estimates: Iterable[SoftwareEstimate]) -> str:
    """The file that the key `estimates` of the inputs names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in estimates:
        kg = "" if each.grams is None else format((each.grams / 1000).normalize(), "f")
        kwh = format((Decimal(each.energy_uj) / UJ_PER_KWH).normalize(), "f")
        times = _text(each.start_ns), _text(each.end_ns)
        where = each.team, each.host, each.place, each.kind
        writer.writerow([each.id, *times, *where, kwh, kg, each.basis, each.source, each.row])
    return text.getvalue()


def read_estimates(raw: bytes, name: str) -> tuple[SoftwareEstimate, ...]:
    """The estimates of such a file.

    Raises:
        UsageError: it is not one, or a row is wrong; one line with file and row.
    """
    reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig", "replace")))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise UsageError(f"{name}: not a file of estimates; create it with `wattlens report import codecarbon`")
    estimates: dict[str, SoftwareEstimate] = {}
    for number, row in enumerate(reader, 2):
        try:
            _refuse_unprintable({name: row[name] or "" for name in COLUMNS})
            start, end = _moment(row["start_utc"], ZoneInfo("UTC")), _moment(row["end_utc"], ZoneInfo("UTC"))
            if end < start or row["run_id"] in estimates or row["kind"] not in (CLOUD, HOST):
                raise ValueError("its times, kind or run_id are wrong, or the run is a duplicate")
            estimates[row["run_id"]] = SoftwareEstimate(
                row["run_id"], start, end, row["team"], row["host"], row["place"], row["kind"],
                int(_number(row, "energy_kwh") * UJ_PER_KWH), _grams(row, "co2e_kg"), row["basis"], row["source"],
                int(row["row"]),
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise UsageError(f"{name}, row {number}: {error}") from None
    return tuple(estimates.values())


def _text(moment_ns: int) -> str:
    return f"{datetime.fromtimestamp(moment_ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}"
