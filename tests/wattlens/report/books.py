"""Workbooks for tests, written by openpyxl, and a whole organisation in two forms: as rows and as YAML."""

import io
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl

START_NS = 1_782_864_000 * 10**9  # 2026-07-01T00:00:00Z
END_NS = 1_790_812_800 * 10**9  # 2026-10-01T00:00:00Z
AS_OF_NS = END_NS
KWH_UJ = 3_600_000_000_000

NINE, TEN = datetime(2026, 7, 1, 9, 15), datetime(2026, 7, 1, 10, 0)  # noqa: DTZ001 - as a workbook has them
Rows = list[list[Any]]


def book(path: Path, sheets: dict[str, Rows]) -> Path:
    """A workbook of these rows, the first of each sheet its head."""
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def whole() -> dict[str, Rows]:
    """Return all inputs that the sheets support, with the same values as `YAML`."""
    return {
        "Organisation": [["name", "contact", "least_coverage_percent"], ["Example AI", "esg@example.com", 97.5]],
        "Sites": [
            ["name", "time_zone", "grid_zone", "country", "pue", "pue_uncertainty_percent", "pue_source", "it_power",
             "it_power_unit", "floor_m2"],
            ["fra1", "Europe/Berlin", "DE", "DEU", 1.28, 5, "the operator", 0.8, "MW", 1200],
            ["pnq1", "Asia/Kolkata", None, "IND", None, None, None, None, None, None],
        ],
        "Inventory": [
            ["cluster", "node", "uuid", "sku", "site", "from", "to"],
            ["prod", "n2", "GPU-2", "H100", "fra1", date(2026, 7, 15), None],
            ["prod", "n1", "GPU-1", "H100", "fra1", None, date(2026, 8, 1)],
            ["prod", "n1", "GPU-1", "H100", "pnq1", date(2026, 8, 1), None],
            ["prod", "n9", None, None, "pnq1", None, None],
        ],
        "Meters": [
            ["site", "id", "role", "position", "parent", "accuracy_percent", "max_power", "max_power_unit", "source"],
            ["fra1", "main", "total", None, None, 0.5, 2.5, "MW", "modbus"],
            ["fra1", "ups", "it", "ups_output", "main", 1, 1200, "kW", "snmp"],
        ],
        "Contracts": [
            ["site", "id", "kind", "zone", "technology", "start", "end", "volume", "volume_unit", "granularity", "commissioned",
             "g_per_kwh", "g_source"],
            ["fra1", "wind", "ppa", "DE", "wind", date(2026, 7, 1), date(2026, 7, 31), 1.2345, "MWh", "month",
             date(2020, 1, 1), 12.5, "the seller"],
            ["fra1", "sun", "ppa", "DE", "solar", None, None, None, None, None, None, None, None],
        ],
        "Certificates": [
            ["site", "id", "kind", "zone", "technology", "start", "end", "volume", "volume_unit", "granularity", "retired",
             "retirement_id", "registry", "serials", "plant", "beneficiary"],
            ["fra1", "go", "go", "DE", "hydro", date(2026, 7, 1), date(2026, 9, 30), 5000, "kWh", "year",
             date(2026, 9, 1), 123, "HKNR", "X-1..X-9999", "P", "Example AI"],
        ],
        "Deliveries": [
            ["site", "contract", "start_utc", "minutes", "volume", "volume_unit"],
            ["fra1", "sun", NINE, 15, 812.5, "kWh"],
            ["fra1", "sun", TEN, 60, 3.25, "MWh"],
        ],
        "Tariffs": [
            ["site", "id", "currency", "price", "price_unit", "times", "valid_from", "source"],
            ["fra1", "2026", "EUR", 182, "MWh", None, date(2026, 1, 1), "contract 3.1"],
            ["fra1", "2026", None, 0.214, "kWh", "Mon-Fri 08:00-20:00; Sat 08:00-12:00", None, None],
        ],
        "Water": [
            ["site", "start", "end", "amount", "amount_unit", "accuracy_percent", "category", "source"],
            ["fra1", date(2026, 7, 1), date(2026, 9, 30), 4.1, "m3", 2, 1, "bill 4711"],
        ],
        "Teams": [
            ["namespace", "partition", "account", "labels", "team", "project", "price_class"],
            ["nlp-*", None, None, None, "language", "search", None],
            [None, "spot*", None, None, None, None, "spot"],
            [None, None, 4711, "cost-centre=77*; tier=a", "vision", None, None],
        ],
        "Prices": [
            ["price_class", "currency", "per_gpu_hour", "electricity_share_percent"],
            ["spot", "EUR", 0.9, None],
            [None, "EUR", 1.75, 50],
        ],
        "Hardware": [
            ["sku", "low_kg", "high_kg", "life_years", "boundary", "source"],
            ["*H100*", 164, 575.1, 5, "cradle to gate", "two sheets"],
        ],
        "Models": [["model", "display", "precision", "parameters_billion"], ["llama-70b", "Llama 70B", "fp8", 70.6]],
    }  # fmt: skip


YAML = """
organisation: {name: Example AI, contact: esg@example.com}
least_coverage_percent: 97.5
inventory: inventory.csv
sites:
  - it_power_kw: 800
    floor_m2: 1200
    site: {name: fra1, time_zone: Europe/Berlin}
    grid: {zone: DE, country: DEU}
    pue: {value: 1.28, uncertainty_percent: 5, source: the operator}
    meters:
      - {id: main, role: total, accuracy_percent: 0.5, max_power_w: 2500000, source: modbus}
      - {id: ups, role: it, position: ups_output, parent: main, accuracy_percent: 1, max_power_w: 1200000, source: snmp}
    contracts:
      - {id: wind, kind: ppa, zone: DE, technology: wind, start: 2026-07-01, end: 2026-07-31, volume_kwh: 1234.5,
         granularity: month, commissioned: 2020-01-01, g_per_kwh: 12.5, g_source: the seller}
      - id: sun
        kind: ppa
        zone: DE
        technology: solar
        deliveries:
          - {start_utc: 2026-07-01T09:15, minutes: 15, kwh: 812.5}
          - {start_utc: "2026-07-01T12:00:00+02:00", kwh: 3250}
      - {id: go, kind: go, zone: DE, technology: hydro, start: 2026-07-01, end: 2026-09-30, volume_kwh: 5000,
         granularity: year, retired: 2026-09-01, retirement_id: "123", registry: HKNR, serials: "X-1..X-9999", plant: P,
         beneficiary: Example AI}
    tariffs:
      - id: "2026"
        currency: EUR
        default_per_kwh: 0.182
        prices: [{times: ["Mon-Fri 08:00-20:00", "Sat 08:00-12:00"], per_kwh: 0.214}]
        valid_from: 2026-01-01
        source: contract 3.1
    water: [{start: 2026-07-01, end: 2026-09-30, liters: 4100, accuracy_percent: 2, category: 1, source: bill 4711}]
  - site: {name: pnq1, time_zone: Asia/Kolkata}
    grid: {country: IND}
teams:
  - {match: {namespace: "nlp-*"}, team: language, project: search}
  - {match: {partition: "spot*"}, price_class: spot}
  - {match: {account: "4711", cost-centre: "77*", tier: a}, team: vision}
prices:
  - {price_class: spot, currency: EUR, per_gpu_hour: 0.9}
  - {currency: EUR, per_gpu_hour: 1.75, electricity_share_percent: 50}
embodied:
  - {sku: "*H100*", low_kg: 164, high_kg: 575.1, life_years: 5, boundary: cradle to gate, source: two sheets}
models:
  - {model: llama-70b, display: Llama 70B, precision: fp8, parameters_billion: 70.6}
"""

CSV = """cluster,node,uuid,sku,site,from,to
prod,n2,GPU-2,H100,fra1,2026-07-15,
prod,n1,GPU-1,H100,fra1,,2026-08-01
prod,n1,GPU-1,H100,pnq1,2026-08-01,
prod,n9,,,pnq1,,
"""


def yaml_files(folder: Path) -> Path:
    """The same organisation as `whole`, as YAML with its inventory."""
    (folder / "inventory.csv").write_text(CSV)
    path = folder / "org.yaml"
    path.write_text(YAML)
    return path


def with_part(path: Path, name: str, data: bytes | str) -> Path:
    """The workbook with one part of its archive replaced, or added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        new.writestr(name, data)
    path.write_bytes(buffer.getvalue())
    return path


def part(path: Path, name: str) -> str:
    """One part of a workbook's archive."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode()
