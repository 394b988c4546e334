"""What a report was made of: the ledger's days, factor tables and the organisation's files, each with its hash. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from reports.audit.canonical import Found, canonical, exact

_DAY: Final = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]")


@dataclass(frozen=True, slots=True)
class LedgerDay:
    """One site's UTC day, as it was stated when the report was made.

    Args:
        statement: 0 for the first; each later one restates it.
        inputs_sha256: of the segments that it was made of.
        files: its Parquet files -> SHA-256.
    """

    site: str
    day: str
    statement: int
    inputs_sha256: str
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """What of it goes into the ledger's root: itself, then each of its files."""
        head = f"{self.site}\t{self.day}\t{self.statement}"
        return [f"{head}\t{self.inputs_sha256}", *(f"{head}\t{name}\t{self.files[name]}" for name in self.files)]


@dataclass(frozen=True, slots=True)
class FactorRecord:
    """A factor as the facts have it: its id, the hash of its table, and everything else that is said of it."""

    id: str
    sha256: str
    said: Mapping[str, str]  # value, unit, edition, ...; what is no text as canonical JSON

    @property
    def value(self) -> Fraction | None:
        """Its one value; None: it is a series, or says none."""
        return exact(self.said.get("value", ""))


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that went in, each by its name."""

    days: Mapping[tuple[str, str], LedgerDay]
    factors: Mapping[str, FactorRecord]
    files: Mapping[str, str]

    @property
    def ledger_root(self) -> str:
        """SHA-256 over every day's lines, sorted as bytes, each with its newline: one hash for all of the ledger."""
        lines = sorted((line + "\n").encode() for day in self.days.values() for line in day.lines)
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def plain(self) -> dict[str, object]:
        """As a manifest has it."""
        days = [
            {"site": d.site, "day": d.day, "statement": d.statement, "inputs_sha256": d.inputs_sha256, "files": dict(d.files)}
            for _, d in sorted(self.days.items())
        ]
        return {
            "days": days,
            "factors": [{"id": name, "sha256": self.factors[name].sha256} for name in sorted(self.factors)],
            "files": [{"name": name, "sha256": self.files[name]} for name in sorted(self.files)],
        }


def read_inputs(inputs: Found, factors: Found) -> Inputs:
    """Typed inputs of a document; `factors` is a list of its own in facts, and one of the inputs in a manifest.

    Raises:
        WattlensError: a key is missing or of another type, or something is named twice.
    """
    days: dict[tuple[str, str], LedgerDay] = {}
    for each in inputs.at("days").items():
        files = {name: found.sha256() for name, found in _printable(each.at("files"))}
        site, day = each.at("site").text(), each.at("day").text()
        if not _DAY.fullmatch(day):
            each.at("day").wrong("a day such as 2026-07-01")
        if (site, day) in days:
            each.wrong("each day of a site once")
        days[site, day] = LedgerDay(site, day, each.at("statement").count(), each.at("inputs_sha256").sha256(), files)
    records: dict[str, FactorRecord] = {}
    for each in factors.items():
        record = FactorRecord(each.at("id").text(), each.at("sha256").sha256(), _said(each))
        if record.id in records:
            each.wrong("each factor once")
        records[record.id] = record
    named: dict[str, str] = {}
    for each in inputs.at("files").items():
        name = each.at("name").text()
        if name in named:
            each.wrong("each file once")
        named[name] = each.at("sha256").sha256()
    return Inputs(days, records, named)


def _printable(files: Found) -> list[tuple[str, Found]]:
    for name, each in files.pairs():
        if not name.isprintable():
            each.wrong("a printable name")
    return list(files.pairs())


def _said(record: Found) -> dict[str, str]:
    return {
        key: each.value if isinstance(each.value, str) else canonical(each.value).decode().strip()
        for key, each in record.pairs()
        if key not in ("id", "sha256")
    }
