"""The inventory of a report: which board stood where from when to when, of a CSV file or of a workbook's rows."""

import csv
import difflib
from collections.abc import Iterable, Sequence
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from energy_agent.config.messages import explain, shorten
from energy_agent.core.errors import UsageError
from energy_agent.core.text import separator_hint
from energy_agent.ledger.fleet.sites import COLUMNS, KEY_COLUMN
from energy_agent.ledger.rows.kinds import INT64_MAX
from reports.inputs.days import midnight_ns
from reports.inputs.organisation import ExpectedDevice
from wattlens.report.inputs.files import InputFiles
from wattlens.report.inputs.model import InventoryLine

FILE_MAX_B: Final = 256 << 20
LINES_MAX: Final = 2_000_000
Line = tuple[str, InventoryLine]
"""Its place, and its content."""


def csv_lines(given: Path, files: InputFiles) -> list[Line]:
    """The lines of an inventory file, the one that `wattlens ledger compact --inventory` reads.

    Raises:
        UsageError: not readable, or lines with errors; each error is a line with file, line number, expected and actual value.
    """
    try:
        text = files.read(given, FILE_MAX_B).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{given}: expected a CSV file in UTF-8") from None
    return _lines(text, given)


def _lines(text: str, given: Path) -> list[Line]:
    reader = csv.reader(text.splitlines(), strict=True)
    head: list[str] = []
    lines: list[Line] = []
    faults: list[str] = []
    try:
        for cells in reader:
            where = f"{given}:{reader.line_num}"
            if not head:
                head = cells
                if sorted(head) not in (sorted(COLUMNS), sorted([*COLUMNS, KEY_COLUMN])):
                    raise UsageError(f"{where}: expected the columns {','.join(COLUMNS)}{separator_hint(head)}")
            elif reader.line_num > LINES_MAX:
                raise UsageError(f"{given}: expected at most {LINES_MAX} lines")
            elif cells:
                if len(cells) != len(head):
                    faults.append(f"{where}: expected {len(head)} cells as in the first line, got {len(cells)}")
                    continue
                try:
                    lines.append((where, _device(cells, head)))
                except ValidationError as error:
                    faults += [f"{where}: {line}" for line in explain(error, InventoryLine)]
    except csv.Error as error:
        faults.append(f"{given}:{reader.line_num}: not valid CSV: {error}")
    if not head and not faults:
        faults.append(f"{given}:1: is empty; expected the columns {','.join(COLUMNS)}")
    if faults:
        raise UsageError("\n".join(shorten(faults)))
    return lines


def _device(cells: Sequence[str], head: Sequence[str]) -> InventoryLine:
    return InventoryLine.model_validate(
        {key: cell for key, cell in zip(head, cells, strict=True) if cell and key != KEY_COLUMN}
    )


def expected(lines: Iterable[Line], sites: Sequence[str]) -> tuple[ExpectedDevice, ...]:
    """Return the inventory, in the order of cluster, node, GPU and time.

    Args:
        lines: lines with their positions, for messages.
        sites: names of the existing sites; if empty, any name is valid.

    Raises:
        UsageError: a GPU is at two sites at once, or at an unknown site.
    """
    by_key: dict[tuple[str, str, str], list[tuple[ExpectedDevice, str]]] = {}
    site_names = set(sites)
    for where, device in lines:
        if site_names and device.site not in site_names:
            raise UsageError(f"{where}: unknown site {device.site!r}; {_nearest(device.site, sites)}")
        start_ns = midnight_ns(device.first, UTC) if device.first is not None else 0
        end_ns = midnight_ns(device.gone, UTC) if device.gone is not None else INT64_MAX
        stay = ExpectedDevice(device.cluster, device.node, device.uuid, device.sku, device.site, start_ns, end_ns)
        by_key.setdefault((device.cluster, device.node, device.uuid), []).append((stay, where))
    _refuse_double(by_key)
    return tuple(stay for key in sorted(by_key) for stay, _ in sorted(by_key[key], key=_start))


def _refuse_double(by_key: dict[tuple[str, str, str], list[tuple[ExpectedDevice, str]]]) -> None:
    gpus: dict[tuple[str, str], list[tuple[ExpectedDevice, str]]] = {}  # one board under two nodes would be counted twice
    for (cluster, node, uuid), stays in by_key.items():
        gpus.setdefault((cluster, uuid) if uuid else (cluster, f"{node}/"), []).extend(stays)
    for stays in gpus.values():
        for (before, first), (after, second) in pairwise(sorted(stays, key=_start)):
            if after.start_ns < before.end_ns:
                what = before.uuid or f"node {before.node}"
                raise UsageError(f"{second}: {what} is listed twice for the same time, also in {first}")


def _start(stay: tuple[ExpectedDevice, str]) -> int:
    return stay[0].start_ns


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(sorted(names)[:20])}"
