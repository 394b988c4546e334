"""Inputs of a report: days of the ledger, factor tables and the organisation's files, each with its hash. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from reports.audit.canonical import KEY_BY_KEY, Count, ExtensibleObject, Items, Sha256, Text, exact, form, once

_Date = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[01][0-9]-[0-3][0-9]$")]


class LedgerDay(BaseModel):
    """One site's UTC day, as it was stated when the report was made.

    Args:
        statement: 0 for the first; each later one restates it.
        inputs_sha256: of the segments that it was made of.
        files: its Parquet files -> SHA-256.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # facts have faults and reasons as well

    site: Text
    day: _Date
    statement: Count
    inputs_sha256: Sha256
    files: Annotated[dict[Text, Sha256], KEY_BY_KEY] = {}

    @property
    def lines(self) -> list[str]:
        """What of it goes into the ledger's root: itself, then each of its files."""
        head = f"{self.site}\t{self.day}\t{self.statement}"
        return [f"{head}\t{self.inputs_sha256}", *(f"{head}\t{name}\t{self.files[name]}" for name in self.files)]


class FactorRecord(ExtensibleObject):
    """A factor in the facts: its ID, the hash of its table, and all other keys of its record."""

    id: Text
    sha256: Sha256

    @property
    def attributes(self) -> dict[str, str]:
        """Value, unit, edition and so on; values other than text as canonical JSON."""
        return {key: value if isinstance(value, str) else form(value) for key, value in self.rest.items()}

    @property
    def value(self) -> Fraction | None:
        """Its one value; None: it is a series, or says none."""
        return exact(self.rest.get("value"))


class NamedFile(ExtensibleObject):
    """A file of the organisation."""

    name: Text
    sha256: Sha256


Factors = Annotated[Items[FactorRecord], once(lambda factor: factor.id)]


class InputsDocument(ExtensibleObject):
    """As a document has them; `factors` is a list of its own in facts, and one of the inputs in a manifest."""

    days: Annotated[Items[LedgerDay], once(lambda day: (day.site, day.day))]
    files: Annotated[Items[NamedFile], once(lambda file: file.name)]
    factors: Factors = ()
    ledger_root: Sha256 | None = None

    def typed(self, factors: Iterable[FactorRecord] = ()) -> "EditionInputs":
        """By their names."""
        days = {(day.site, day.day): day for day in self.days}
        records = {record.id: record for record in (*self.factors, *factors)}
        return EditionInputs(days, records, {file.name: file.sha256 for file in self.files})


@dataclass(frozen=True, slots=True)
class EditionInputs:
    """All inputs of an edition by name."""

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
        return {
            "days": [self.days[key].model_dump() for key in sorted(self.days)],
            "factors": [{"id": name, "sha256": self.factors[name].sha256} for name in sorted(self.factors)],
            "files": [{"name": name, "sha256": self.files[name]} for name in sorted(self.files)],
        }
