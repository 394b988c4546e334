"""`wattlens factors`: list the emission factor tables, show which factor a zone gets and why, import a published table."""

import hashlib
import sys
from argparse import Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable
from wattlens.cli._command import Command, CommandOptions, print_json, print_lines, print_table
from wattlens.cli._options import day, number, write_new

if TYPE_CHECKING:
    from energy_agent.factors.set_file import FactorSet
    from energy_agent.factors.sets import FactorMatch

_BOUNDARIES = ("direct", "life-cycle", "upstream", "losses", "biogenic")
_ACCOUNTING = ("location", "residual-mix")
_GASES = ("CO2", "CO2e")
_FILE_MAX_B = 20 << 20


def _configure_list(add: CommandOptions) -> None:
    add("--zone ZONE", "list all factors of this zone or country, such as DEU or US-CA")
    _add_common(add)


def _configure_show(add: CommandOptions) -> None:
    add("zone ZONE", "zone of the grid, such as US-CA, or a country, such as DEU")
    add("--country ISO3", "country to use if the zone has no factor, such as USA", default="")
    add("--year YYYY", "year of the energy (default: this year)", type=number(int, 1990, 2100))
    add(
        "--boundary NAME",
        "direct (default, as Scope 2 requires), life-cycle, upstream, losses or biogenic",
        choices=_BOUNDARIES,
        default="direct",
    )
    add("--accounting", "default location", choices=_ACCOUNTING, default="location")
    add("--gases", "default CO2e", choices=_GASES, default="CO2e")
    add("--accept-old", "also use factors that are more than five years older than the year")
    _add_common(add)


def _configure_import(add: CommandOptions) -> None:
    from wattlens.factor_tables import FORMATS

    add("format FORMAT", "; ".join(f"{name}: {each.summary}" for name, each in FORMATS.items()), choices=tuple(FORMATS))
    add("file FILE", "the downloaded file, .xlsx or .csv")
    add("--out DIR", "existing folder of factor files (grid.factors)", required=True)
    add("--licence TEXT", "terms under which you may use the table", required=True)
    add("--source TEXT", "address that the file was downloaded from", required=True)
    add("--year YYYY", "year that the values describe", type=number(int, 1990, 2100))
    add("--edition TEXT", "edition of the table (default: the name of the file)")
    add("--published DAY", "date of the publication (default: that of retrieval)", type=day)
    add("--fetched DAY", "date of retrieval (default: today)", type=day)
    add("--id ID", "id of the set and name of its two files (default: FORMAT-YEAR)")
    add("--publisher TEXT", "publisher; required for csv")
    add("--gwp-set TEXT", "GWP set, such as AR6; required for csv")
    add(
        "--boundary NAME",
        "csv: direct (default), life-cycle, upstream, losses or biogenic",
        choices=_BOUNDARIES,
    )
    add("--accounting", "csv: default location", choices=_ACCOUNTING)
    add("--basis", "mix that the values describe", choices=("production", "consumption"))
    add("--gases", "CO2e for a table of CO2 alone: the note then states that CH4 and N2O are missing", choices=_GASES)
    add("--force", "overwrite the two files")


def _add_common(add: CommandOptions) -> None:
    add("--factors DIR", "folder with your own factor files (grid.factors)")
    add("--json", "print JSON")


def _list(parsed: Namespace) -> int:
    from energy_agent.factors.sets import catalogue

    factor_catalogue = catalogue(parsed.factors)
    if parsed.zone is None:
        if parsed.json:
            print_json([_set_json(each) for each in factor_catalogue.sets], 1)
            return 0
        heads = ("ID", "YEARS", "EMISSIONS", "ACCOUNTING", "GASES", "GWP", "QUALITY", "ORIGIN", "PUBLISHED", "ROWS")
        print_table([heads, *(_set_row(each) for each in factor_catalogue.sets)])
        return 0
    factor_catalogue.refuse_unknown(parsed.zone)
    zone = parsed.zone.upper()
    matches = [(s, f) for s in factor_catalogue.sets for (z, _), f in sorted(s.factors.items()) if z == zone]
    if parsed.json:
        print_json([_factor_json(f.id, s, factor_catalogue.by_id(f.id)) for s, f in matches], 1)
        return 0
    columns = ("YEAR", "VALUE", "EMISSIONS", "ACCOUNTING", "QUALITY", "ORIGIN", "SET")
    rows = [
        (str(f.year), f"{f.value:f} {f.unit}", f.boundary, str(s.basis.accounting), str(f.quality), f.evidence, s.id)
        for s, f in matches
    ]
    print_table([columns, *rows])
    return 0


def _set_row(each: "FactorSet") -> tuple[str, ...]:
    basis = each.basis
    return (
        each.id, each.years, str(basis.boundary), str(basis.accounting), str(basis.gases), each.gwp_set, str(each.quality),
        each.evidence, each.published, str(each.rows),
    )  # fmt: skip


def _set_json(each: "FactorSet") -> dict[str, Any]:
    names = (
        "id", "title", "publisher", "edition", "unit", "gwp_set", "mix", "quality", "uncertainty", "years", "source",
        "source_sha256", "fetched", "published", "evidence", "licence", "attribution", "update", "note", "csv_sha256", "rows",
    )  # fmt: skip
    return {name: getattr(each, name) for name in names} | {"basis": str(each.basis), "own": each.is_custom}


def _factor_json(identity: str, factor_set: "FactorSet", match: "FactorMatch") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(match.factor) | {
        "value": str(match.factor.value),
        "id": identity,
        "sha256": match.csv_sha256,
        "set": factor_set.id,
    }


def _show(parsed: Namespace) -> int:
    from dataclasses import asdict

    from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
    from energy_agent.factors.sets import catalogue

    basis = Basis(EmissionBoundary(parsed.boundary), Accounting(parsed.accounting), Gases(parsed.gases))
    year = parsed.year or datetime.now(UTC).year
    factor_catalogue = catalogue(parsed.factors, accept_old=parsed.accept_old)
    match = factor_catalogue.factor(parsed.zone, year, basis, parsed.country)
    where = " / ".join(filter(None, (parsed.zone, parsed.country)))
    why = "; ".join(match.reasons) or "the newest publication of the requested zone and year"
    record = {"requested": f"{where}, {year}, {basis}", "reason": why}
    f = match.factor
    if parsed.json:
        print_json(record | asdict(f) | {"value": str(f.value), "table_sha256": match.csv_sha256}, 1)
        return 0
    lines = record | {
        "value": f"{f.value:f} {f.unit}", "zone": f"{f.zone} ({f.zone_name})", "year": str(f.year), "publisher": f.publisher,
        "edition": f.edition, "licence": f.licence, "GWP set": f.gwp_set,
        "basis": f"{f.boundary}, {f.accounting}, {f.basis} mix", "quality": str(f.quality), "uncertainty": f.uncertainty,
        "origin": f"{f.evidence}, retrieved on {f.fetched}", "source": f.source, "SHA-256 of source": f.source_sha256,
        "SHA-256 of table": match.csv_sha256, "id": f.id,
    }  # fmt: skip
    print_lines(f"{name + ':':<18} {text}" for name, text in lines.items())
    return 0


def _import(parsed: Namespace) -> int:
    from energy_agent.factors import bounded_file
    from wattlens.factor_tables import FORMATS, csv_table, set_files
    from wattlens.report.inputs.workbook.file import read_table

    wanted = FORMATS[parsed.format]
    for option in wanted.required:
        if getattr(parsed, option) is None:
            raise UsageError(f"--{option.replace('_', '-')}: required for the format {parsed.format}")
    if not parsed.out.is_dir():
        raise UsageError(f"--out {parsed.out}: expected an existing folder")
    raw = bounded_file.read(parsed.file, _FILE_MAX_B)
    name = parsed.file.name
    table = read_table(raw, name, wanted.sheet) if parsed.file.suffix.lower() == ".xlsx" else csv_table(raw, name)
    converted = wanted.convert(table, parsed.year, name)
    today = datetime.now(UTC).date()
    identity = parsed.id or "-".join(filter(None, (parsed.format, str(parsed.year or max(r.year for r in converted.rows)))))
    page: dict[str, str | int] = {
        "id": identity, "title": name, "edition": parsed.edition or name, "quality": 5,
        "uncertainty": "not stated in the file", "attribution": parsed.publisher or "", **wanted.page, **converted.page,
        "source": parsed.source, "source_sha256": hashlib.sha256(raw).hexdigest(), "fetched": str(parsed.fetched or today),
        "published": str(parsed.published or parsed.fetched or today), "licence": parsed.licence,
        "update": f"import the next edition: wattlens factors import {parsed.format}",
    }  # fmt: skip
    options = ("publisher", "gwp_set", "boundary", "basis", "accounting", "gases")
    if parsed.gases == "CO2e" and wanted.page.get("gases") == "CO2":
        page["gwp_set"] = "none: CO2 alone, used as CO2e"
        page["note"] = "the table has CO2 alone; CH4 and N2O are missing from these values"
    page |= {name: value for name in options if (value := getattr(parsed, name)) is not None}
    files = set_files(converted, page)
    for suffix, content in ((".csv", files.csv), (".json", files.json)):
        write_new(parsed.out / f"{identity}{suffix}", content, force=parsed.force)
    factor_set = files.factors
    missing = f", {len(factor_set.missing)} without a value" if factor_set.missing else ""
    counted = f"{len(factor_set.factors)} factors{missing}; {factor_set.basis}"
    print(printable(f"{parsed.out / identity}.csv and .json: {counted}; SHA-256 {page['source_sha256']}"))
    if str(factor_set.basis.gases) == "CO2":
        print("These factors are CO2 alone: sites use them with grid.gases: CO2.", file=sys.stderr)
    return 0


SPEC = Command(
    "list, show and import emission factors of grids",
    actions={
        "list": Command("list the tables, or all factors of a zone", _configure_list, _list),
        "show": Command("show the factor that a zone gets in a year, and why", _configure_show, _show),
        "import": Command("convert a published table to a factor file for grid.factors", _configure_import, _import),
    },
)
