"""GPUs that are known already, for the sheet Inventory of a new workbook: those of an inventory file, or of a ledger."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energy_agent.core.boundary import is_gpu
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.reading import is_compacted, read_rows
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.ledger.scratch import SITE
from wattlens.report.inputs.files import InputFiles
from wattlens.report.inputs.inventory import csv_lines
from wattlens.report.inputs.workbook.columns import ROWS_MAX

Line = dict[str, str]
"""A line by the columns of sheet Inventory."""
_Board = tuple[str, str, str]
YEAR_MIN: Final = 1990
"""Earlier days are of a clock that was never set; no sheet takes them."""
_DEVICES: Final = "device.parquet"
"""The file of a compacted day that has its devices."""


def of_inventory(path: Path) -> list[Line]:
    """Return the lines of an inventory file.

    Raises:
        UsageError: the file is not an inventory; the message names file and line.
    """
    lines = []
    for _, device in csv_lines(Path(path.name), InputFiles(path.parent)):
        lines.append({label: str(value) for label, value in device.model_dump(by_alias=True, exclude_none=True).items()})
    return _few(lines, path)


def of_ledger(path: Path) -> list[Line]:
    """Return the GPUs of a ledger with the day on which it first knew them.

    Only compacted days have sites: a GPU that moved has a line per site. Other GPUs are at the one site that a report without
    inputs has.

    Raises:
        UsageError: there is no ledger.
        ChainError: a damaged segment, or a file that is not one of ours.
        JournalError: a damaged journal.
    """
    facts_of: dict[_Board, DeviceFacts] = {}
    sites_by_day: dict[_Board, dict[str, set[str]]] = {}
    for site, day, source in _places(path):
        for located in read_rows(source):
            row = located.row
            if isinstance(row, DeviceFacts) and is_gpu(row.uuid):
                key = (located.cluster, located.node, row.uuid)
                if key not in facts_of or row.since_ns < facts_of[key].since_ns:
                    facts_of[key] = row
                if site:
                    sites_by_day.setdefault(key, {}).setdefault(day, set()).add(site)
    lines = []
    for (cluster, node, uuid), facts in sorted(facts_of.items()):
        line = {"cluster": cluster, "node": node, "uuid": uuid, "sku": facts.sku, "site": SITE}
        since = datetime.fromtimestamp(facts.since_ns // NS_PER_S, UTC).date()
        first = since.isoformat() if since.year >= YEAR_MIN else ""
        lines += [line | stay for stay in _stays(first, sites_by_day.get((cluster, node, uuid), {}))]
    return _few(lines, path)


def _places(path: Path) -> Iterator[tuple[str, str, Path]]:
    """(site, UTC day, file of devices) of every compacted day, as it was stated last; else the ledger as a whole."""
    if not path.is_dir() or not is_compacted(path):
        yield "", "", path
        return
    newest: dict[Path, Path] = {}
    for manifest in sorted(path.resolve().rglob("r[0-9]*/manifest.json")):
        newest[manifest.parent.parent] = manifest.parent  # r0000, r0001, ...: the last in order is the newest
    for day, statement in sorted(newest.items()):
        if (devices := statement / _DEVICES).exists():
            yield day.parent.name, day.name, devices


def _stays(first: str, listed: Mapping[str, set[str]]) -> list[Line]:
    """Where a board was and from when to when, by the sites at which each day has it."""
    stays: list[Line] = [{"from": first} if first else {}]
    for day in sorted(listed):
        here = stays[-1].get("site", "")
        if not here:
            stays[-1]["site"] = min(listed[day])
        elif moved := listed[day] - {here}:
            stays[-1]["to"] = day
            stays.append({"site": min(moved), "from": day})
    return stays


def _few(lines: list[Line], path: Path) -> list[Line]:
    if len(lines) > ROWS_MAX:
        raise UsageError(
            f"{path}: expected at most {ROWS_MAX} GPUs; for more, use a CSV file as the inventory (sheet Organisation)"
        )
    return lines
