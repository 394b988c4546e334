"""One set of dated factors: a table of values, and next to it a JSON file with their publisher and terms. Pure.

`NAME.csv` has columns zone, name, year, one of UNITS and, where there is something to say, note. `NAME.json` has the fields of
`FactorSet`. What stands as 0 or NA is a missing value: no grid has an intensity of nothing, and absent is never 0.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.text import is_printable
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases, accounting_text
from energy_agent.factors.record import Factor

UNITS: Final = {"g_per_kwh": Decimal(1), "kg_per_kwh": Decimal(1000), "lb_per_mwh": Decimal("0.45359237")}
"""Grams per kWh in one of the unit; a pound is 453.59237 g by its definition."""
ROWS_MAX: Final = 100_000
MOST_G: Final = Decimal(10_000)
"""No fuel makes 10 kg a kWh: a value above is in another unit than it says."""
MISSING: Final = frozenset({"", "na", "n/a", "nan", "none", "null", "-"})
TEXTS: Final = (
    "id", "title", "publisher", "edition", "unit", "gases", "gwp_set", "boundary", "basis", "accounting", "uncertainty",
    "years", "source", "source_sha256", "fetched", "licence", "attribution", "update",
)  # fmt: skip
"""What every page has to say, in words."""
EVIDENCE: Final = ("official file", "package", "secondary source")
"""How a table that ships was obtained: the publisher's file, a package that contains it, or a third party's transcription."""
OWN_FILE: Final = "own file"

_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_SET_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_YEAR = re.compile(r"(19|20)[0-9]{2}")
_DATE = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]")


@dataclass(frozen=True, slots=True)
class FactorSet:
    """A published table of factors, all of one basis.

    Args:
        published: date of the publication; that of retrieval where the page does not state it.
        evidence: one of EVIDENCE, or OWN_FILE.
        file: where it was read, for messages.
        csv_sha256: of the table's bytes: with `id` it pins the edition that a report was made with.
        factors: by zone (as written in the table, upper case) and year.
        missing: zones and years that the table has without a value.
        notes: what a row has to say of itself.
    """

    id: str
    title: str
    publisher: str
    edition: str
    unit: str
    gwp_set: str
    basis: Basis
    mix: str  # production | consumption
    quality: int
    uncertainty: str
    years: str
    source: str
    source_sha256: str
    fetched: str
    licence: str
    attribution: str
    update: str
    published: str
    evidence: str
    note: str
    file: str
    csv_sha256: str
    factors: Mapping[tuple[str, int], Factor]
    missing: frozenset[tuple[str, int]]
    notes: Mapping[tuple[str, int], str]
    is_custom: bool = False

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return len(self.factors) + len(self.missing)


def parse(page: bytes, table: bytes, name: str, is_custom: bool = False) -> FactorSet:
    """A set from its page (`NAME.json`) and its table (`NAME.csv`).

    Args:
        page: the JSON text that says whose values these are.
        table: the CSV text with the values.
        name: path without its ending, for messages.
        is_custom: it is a user's, not one of ours.

    Raises:
        UsageError: something is missing or wrong; the line names the file and the key or line.
    """
    about = _page(page, f"{name}.json")
    digest = hashlib.sha256(table).hexdigest()
    if about.get("csv_sha256", digest) != digest:
        raise UsageError(
            f"{name}.csv: its SHA-256 differs from csv_sha256 in {name}.json: a published table must not be edited"
        )
    boundary, accounting, gases = _read_choices(about, f"{name}.json")
    factors: dict[tuple[str, int], Factor] = {}
    missing, notes = set(), {}
    for line, row in _rows(table, f"{name}.csv", about["unit"]):
        key = (row["zone"].upper(), int(row["year"]))
        if key in factors or key in missing:
            raise UsageError(f"{name}.csv, line {line}: duplicate {row['zone']} of {row['year']}")
        value = _value(row[about["unit"]], UNITS[about["unit"]], f"{name}.csv, line {line}")
        if note := row.get("note", ""):
            notes[key] = note
        if value is None:
            missing.add(key)
        else:
            factors[key] = _factor(about, row, key, value, accounting)
    if "rows" in about and about["rows"] != len(factors) + len(missing):
        raise UsageError(f"{name}.csv has {len(factors) + len(missing)} rows, but {name}.json states {about['rows']}")
    texts = {key: about[key] for key in TEXTS if key not in ("boundary", "accounting", "gases", "basis")}
    return FactorSet(
        **texts, basis=Basis(boundary, accounting, gases), mix=about["basis"], quality=about["quality"],
        published=about["published"], evidence=about["evidence"], note=about.get("note", ""), file=f"{name}.csv",
        csv_sha256=digest, factors=factors, missing=frozenset(missing),
        notes=notes, is_custom=is_custom,
    )  # fmt: skip


def _page(raw: bytes, file: str) -> dict[str, Any]:
    try:
        about = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError(f"{file} is not JSON in UTF-8") from None
    if not isinstance(about, dict):
        raise UsageError(f"{file}: expected a JSON object")
    for key in TEXTS:
        text = about.get(key)
        if not isinstance(text, str) or not text.strip() or len(text) > 1000 or not is_printable(text):
            raise UsageError(f"{file}: key {key!r} is missing; expected one line of text")
    quality = about.get("quality")
    if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 5:
        raise UsageError(f"{file}: key 'quality': expected 1 (metered supplier) to 5 (annual country average)")
    if not isinstance(about.get("note", ""), str):
        raise UsageError(f"{file}: key 'note': expected text")
    if not _SET_ID.fullmatch(about["id"]):
        raise UsageError(f"{file}: key 'id': expected lower-case letters, digits, '.', '_' and '-'")
    about.setdefault("published", about["fetched"])
    for key in ("fetched", "published"):
        if not isinstance(about[key], str) or not _DATE.fullmatch(about[key]):
            raise UsageError(f"{file}: key {key!r}: expected a date such as 2026-11-26")
    if about.setdefault("evidence", OWN_FILE) not in (OWN_FILE, *EVIDENCE):
        raise UsageError(f"{file}: key 'evidence': expected one of {', '.join((OWN_FILE, *EVIDENCE))}")
    return about


def _read_choices(about: Mapping[str, Any], file: str) -> tuple[EmissionBoundary, Accounting, Gases]:
    choices: dict[str, tuple[str, ...]] = {
        "unit": tuple(UNITS),
        "boundary": tuple(EmissionBoundary),
        "accounting": (Accounting.LOCATION, Accounting.RESIDUAL),
        "gases": tuple(Gases),
        "basis": ("production", "consumption"),
    }
    for key, allowed in choices.items():
        if about[key] not in allowed:
            raise UsageError(f"{file}: key {key!r}: expected one of {', '.join(allowed)}")
    return EmissionBoundary(about["boundary"]), Accounting(about["accounting"]), Gases(about["gases"])


def _rows(raw: bytes, file: str, unit: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text") from None
    reader = csv.reader(text.split("\n"), strict=True)
    try:
        head = ["zone" if h.strip() == "code" else h.strip() for h in next(reader, [])]
        missing = [key for key in ("zone", "name", "year", unit) if head.count(key) != 1]
        if missing:
            raise UsageError(f"{file}, line 1: column {', '.join(missing)} is missing or duplicate")
        for number, cells in enumerate(reader):
            if number >= ROWS_MAX:
                raise UsageError(f"{file} has more than {ROWS_MAX} rows")
            if not cells:
                continue
            if len(cells) != len(head):
                raise UsageError(f"{file}, line {reader.line_num}: {len(cells)} cells, but the header has {len(head)}")
            row = {key: cell.strip() for key, cell in zip(head, cells, strict=True)}
            if not _ZONE.fullmatch(row["zone"]):
                raise UsageError(f"{file}, line {reader.line_num}: expected a zone, got {row['zone'][:40]!r}")
            if not _YEAR.fullmatch(row["year"]):
                raise UsageError(f"{file}, line {reader.line_num}: expected a year, got {row['year'][:40]!r}")
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{file}, line {reader.line_num}: {error}") from None


def _value(text: str, scale: Decimal, where: str) -> Decimal | None:
    if text.lower() in MISSING:
        return None
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"{where}: expected a number of grams, kilograms or pounds, got {text[:40]!r}")
    # Trailing zeros that the conversion makes are no digits that anybody published.
    value = Decimal(text) if scale == 1 else Decimal(f"{(Decimal(text) * scale).normalize():f}")
    if value > MOST_G:
        raise UsageError(f"{where}: {text[:40]} is {value:f} g/kWh, more than {MOST_G}; is it in the unit of the column name?")
    return value or None


def _factor(
    about: Mapping[str, Any], row: Mapping[str, str], key: tuple[str, int], value: Decimal, accounting: Accounting
) -> Factor:
    zone, year = key
    return Factor(
        id=f"grid.{accounting}.{zone}.{year}.{about['id']}",
        value=value,
        unit=f"g {about['gases']}/kWh",
        zone=zone,
        zone_name=row["name"],
        year=year,
        gases=about["gases"],
        gwp_set=about["gwp_set"],
        boundary=about["boundary"],
        basis=about["basis"],
        accounting=accounting_text(accounting),
        publisher=about["publisher"],
        edition=about["edition"],
        published=about["published"],
        source=about["source"],
        source_sha256=about["source_sha256"],
        fetched=about["fetched"],
        evidence=about["evidence"],
        licence=about["licence"],
        attribution=about["attribution"],
        uncertainty=about["uncertainty"],
        quality=about["quality"],
    )
