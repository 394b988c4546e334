"""Converters of published factor tables to the two files of a factor set (energy_agent/factors/set_file.py).

AIB and Green-e do not allow redistribution of their tables, so a user converts the file that was downloaded. Columns are found
by their headings. A cell without a number stays NA: a missing value is never 0.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.core.text import separator_hint
from energy_agent.factors.countries import ISO3
from energy_agent.factors.set_file import MISSING, OWN_FILE, UNITS, FactorSet, parse

Table = Sequence[Sequence[str]]
"""Cells of a table as text, row by row."""

_SUBREGION: Final = re.compile(r"[A-Z]{4}")
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class FactorRow:
    """One row of the table to write."""

    zone: str
    name: str
    value: str
    year: int


@dataclass(frozen=True, slots=True)
class ConvertedTable:
    """Rows, their unit, and the properties of the set that follow from the format."""

    unit: str
    rows: Sequence[FactorRow]
    page: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FactorFormat:
    """A format that can be imported.

    Args:
        summary: for the help page.
        sheet: title of the sheet of a workbook; "": the first.
        convert: makes rows of (table, year, name of the file for messages); the year is None if not given.
        page: properties of every set of this format.
        required: options of the command that the format cannot do without.
    """

    summary: str
    sheet: str
    convert: Callable[[Table, int | None, str], ConvertedTable]
    page: Mapping[str, str]
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetFiles:
    """The two files of a set, and the set that they describe."""

    csv: bytes
    json: bytes
    factors: FactorSet


def set_files(converted: ConvertedTable, page: Mapping[str, str | int]) -> SetFiles:
    """Write a set and read it again, so that what is written is valid.

    Raises:
        UsageError: a property or row is wrong; the line names it.
    """
    lines = ["zone,name," + converted.unit + ",year\n"]
    for row in converted.rows:
        name = f'"{row.name}"' if "," in row.name else row.name
        lines.append(f"{row.zone},{name},{row.value},{row.year}\n")
    table = "".join(lines).encode("utf-8")
    years = sorted({row.year for row in converted.rows})
    about: dict[str, str | int] = {"years": ", ".join(map(str, years)), "evidence": OWN_FILE, **page, "unit": converted.unit}
    about |= {"rows": len(converted.rows), "csv_sha256": hashlib.sha256(table).hexdigest()}
    raw = (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode("utf-8")
    return SetFiles(table, raw, parse(raw, table, str(page["id"]), is_custom=True))


def csv_table(raw: bytes, name: str) -> list[list[str]]:
    """Cells of a CSV file; raises UsageError if it is not UTF-8 or not CSV."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8 text") from None
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        return [[cell.strip() for cell in cells] for cells in reader if cells]
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: {error}") from None


def _aib(table: Table, year: int | None, name: str) -> ConvertedTable:
    """Sheet `Residual Mixes`: a row per country by its two-letter code, and a column `CO2 (gCO2/kWh)`."""
    head = next((i for i, row in enumerate(table) if _find(row, "co2", "gco2/kwh") is not None), None)
    if head is None or year is None:
        raise UsageError(f"{name}: expected a column `CO2 (gCO2/kWh)`, as in the sheet Residual Mixes of AIB's results")
    column = _find(table[head], "co2", "gco2/kwh")
    assert column is not None
    rows = [
        FactorRow(ISO3[cells[0]], cells[0], _value(cells, column, name), year)
        for cells in table[head + 1 :]
        if cells and cells[0] in ISO3
    ]
    return ConvertedTable("g_per_kwh", _unique(rows, name))


def _green_e(table: Table, year: int | None, name: str) -> ConvertedTable:
    """A row per eGRID subregion by its acronym, and a column whose heading has `residual` and `lb`."""
    head = next((i for i, row in enumerate(table) if _find(row, "residual", "lb") is not None), None)
    if head is None or year is None:
        raise UsageError(f"{name}: expected a column whose heading has the words residual and lb (per MWh)")
    column = _find(table[head], "residual", "lb")
    assert column is not None
    rows = []
    for cells in table[head + 1 :]:
        acronym = next((cell for cell in cells if _SUBREGION.fullmatch(cell)), None)
        if acronym is not None:
            rows.append(FactorRow(f"US-{acronym}", acronym, _value(cells, column, name), year))
    return ConvertedTable("lb_per_mwh", _unique(rows, name))


def _electricity_maps(boundary: str, *words: str) -> Callable[[Table, int | None, str], ConvertedTable]:
    """Yearly files of the data portal: one row per zone and year."""

    def convert(table: Table, year: int | None, name: str) -> ConvertedTable:
        head = list(table[0]) if table else []
        when, zone = _find(head, "datetime", "utc"), _find(head, "zone", "id")
        column = next((c for word in words if (c := _find(head, "carbon intensity", word)) is not None), None)
        if when is None or zone is None or column is None:
            raise UsageError(f"{name}, line 1: expected the columns of Electricity Maps with the {boundary} intensity")
        label = _find(head, "zone", "name")
        rows = [
            FactorRow(
                cells[zone], cells[label if label is not None else zone], _value(cells, column, name), int(cells[when][:4])
            )
            for cells in table[1:]
            if cells[when][:4].isdigit() and year in (None, int(cells[when][:4]))
        ]
        if len({(row.zone, row.year) for row in rows}) < len(rows):
            raise UsageError(f"{name}: expected one row per zone and year; a file of hours belongs in grid.sources (csv_file)")
        return ConvertedTable("g_per_kwh", _unique(rows, name), {"boundary": boundary})

    return convert


def _plain(table: Table, year: int | None, name: str) -> ConvertedTable:
    """Columns zone, g_per_kwh, kg_per_kwh or lb_per_mwh, and optionally name and year."""
    head = [cell.lower() for cell in table[0]] if table else []
    unit = next((unit for unit in UNITS if unit in head), None)
    if "zone" not in head or unit is None:
        hint = separator_hint(head)
        raise UsageError(f"{name}, line 1: expected the columns zone and one of {', '.join(UNITS)}{hint}")
    if "year" not in head and year is None:
        raise UsageError(f"{name}, line 1: no column year; give the year with --year")
    rows = []
    for line, cells in enumerate(table[1:], 2):
        if len(cells) != len(head):
            raise UsageError(f"{name}, line {line}: {len(cells)} cells, but the header has {len(head)}")
        cell = dict(zip(head, cells, strict=True))
        of = cell.get("year") or str(year or "")
        if not of.isdigit():
            raise UsageError(f"{name}, line {line}: expected a year, got {of[:20]!r}")
        value = _value(cells, head.index(unit), f"{name}, line {line}")
        rows.append(FactorRow(cell["zone"], cell.get("name") or cell["zone"], value, int(of)))
    return ConvertedTable(unit, _unique(rows, name))


def _find(row: Sequence[str], *words: str) -> int | None:
    """The first column whose heading has all words."""
    return next((i for i, cell in enumerate(row) if all(word in cell.lower() for word in words)), None)


def _value(cells: Sequence[str], column: int, name: str) -> str:
    text = cells[column] if column < len(cells) else ""
    if text.lower() in MISSING:
        return "NA"
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"{name}: row {cells[0][:20]!r}: expected a number or NA, got {text[:20]!r}")
    return text


def _unique(rows: Sequence[FactorRow], name: str) -> Sequence[FactorRow]:
    if not rows:
        raise UsageError(f"{name}: no row has a known zone and a year that was requested")
    return sorted(rows, key=lambda row: (row.zone, row.year))


_RESIDUAL: Final = {"boundary": "direct", "accounting": "residual-mix", "basis": "consumption"}
_EM: Final = {"accounting": "location", "basis": "consumption", "gases": "CO2e", "gwp_set": "not stated in the file"}
FORMATS: Final[Mapping[str, FactorFormat]] = {
    "aib": FactorFormat(
        "AIB, European Residual Mixes: results workbook", "Residual Mixes", _aib,
        _RESIDUAL | {
            "title": "European residual mixes", "publisher": "Association of Issuing Bodies (AIB)", "gases": "CO2",
            "gwp_set": "none: CO2 alone", "attribution": "AIB, European Residual Mixes",
        },
        ("year",),
    ),
    "green-e": FactorFormat(
        "Green-e, Residual Mix Emissions Rates: table by eGRID subregion", "", _green_e,
        _RESIDUAL | {
            "title": "Residual mixes of eGRID subregions", "publisher": "Center for Resource Solutions, Green-e",
            "gases": "CO2", "gwp_set": "none: CO2 alone",
            "attribution": "Center for Resource Solutions, Green-e Residual Mix Emissions Rates",
        },
        ("year",),
    ),
    "electricity-maps": FactorFormat(
        "Electricity Maps, yearly file of the data portal, direct intensity", "", _electricity_maps("direct", "(direct)"),
        _EM | {"boundary": "direct", "title": "Electricity Maps, yearly, direct", "publisher": "Electricity Maps",
               "attribution": "Electricity Maps"},
    ),
    "electricity-maps-life-cycle": FactorFormat(
        "the same file, life-cycle intensity", "", _electricity_maps("life-cycle", "(life cycle)", "(lca)"),
        _EM | {"boundary": "life-cycle", "title": "Electricity Maps, yearly, life-cycle", "publisher": "Electricity Maps",
               "attribution": "Electricity Maps"},
    ),
    "csv": FactorFormat(
        "CSV or workbook with the columns zone, g_per_kwh (or kg_per_kwh, lb_per_mwh), and optionally name and year", "",
        _plain,
        {"boundary": "direct", "accounting": "location", "basis": "production", "gases": "CO2e"},
        ("publisher", "gwp_set"),
    ),
}  # fmt: skip
"""Formats by the name of the command line."""
