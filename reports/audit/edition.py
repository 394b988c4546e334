"""An edition of a report as an auditor has it: its facts, read from a folder or a file that anybody may have written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from energy_agent.core.errors import UsageError, WattlensError
from reports.audit import folder as files
from reports.audit.canonical import KEY_BY_KEY, ExtensibleObject, Items, Number, Text, form, once, read_as
from reports.audit.inputs import EditionInputs
from reports.audit.manifest import Argument, Provenance, read_manifest, sha256
from reports.figures.figure import Figure


def _instant(text: object) -> object:
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ValueError("expected an instant in ns as text")
    return text


@dataclass(frozen=True, slots=True)
class StatedFigure:
    """A figure as an edition states it. `rest`: keys that this version does not know."""

    figure: Figure
    rest: str = ""


class _Figure(ExtensibleObject):
    id: Text
    value: Number = None
    unit: Text
    method: Text
    boundary: Text
    coverage: Number = None
    low: Number = None
    high: Number = None
    sources: Items[Text]
    factor_ids: Items[Text]
    dims: Annotated[dict[str, Text], KEY_BY_KEY]
    reason: Text | None = None

    @model_validator(mode="after")
    def _check_value_or_reason(self) -> Self:
        if (self.value is None) == (self.reason is None):
            raise ValueError("expected either a value or the reason for its absence")
        return self

    @property
    def as_stated(self) -> StatedFigure:
        """As it is compared."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return StatedFigure(Figure(**values), form(self.rest) if self.rest else "")


class _Site(ExtensibleObject):
    start_ns: Annotated[int, BeforeValidator(_instant)]
    end_ns: Annotated[int, BeforeValidator(_instant)]


class _Facts(Provenance):
    schema_: Literal["wattlens.report.facts/2"] = Field(alias="schema")
    figures: Annotated[Items[_Figure], once(lambda figure: figure.id)]
    sites: Annotated[dict[str, _Site], KEY_BY_KEY]
    version: Text | None = None


@dataclass(frozen=True, slots=True)
class Edition:
    """The facts of one report, typed.

    Args:
        name: the source of the facts, for messages.
        sha256: hash of their bytes; a later edition names it as the edition that it restates.
        sites: name -> the site's period in UTC ns, and its other keys.
        rest: every other key of the document -> its canonical form.
        program: name and version, from the report's manifest or from the facts; None if neither has them.
        command: arguments from the manifest; None without a manifest.
        version: the program's version in the facts; None if it is missing.
    """

    name: str
    sha256: str
    label: str
    number: int
    restates: str | None
    sites: Mapping[str, tuple[int, int, str]]
    figures: Mapping[str, StatedFigure]
    inputs: EditionInputs
    rest: Mapping[str, str] = field(default_factory=dict)
    program: str | None = None
    command: Mapping[str, Argument] | None = None
    version: str | None = None


def read_edition(path: Path) -> Edition:
    """The edition in a report's folder, with its manifest where there is one, or in a facts file alone.

    Raises:
        UsageError: there is no such folder or file.
        WattlensError: it holds no facts of a report, or not those that its manifest has the hash of.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; name a report's folder, or its {files.FACTS}")
    if not path.is_dir():
        return edition(files.read(path, files.FACTS_MAX_B, follow=True), str(path))
    raw = files.read(path / files.FACTS, files.FACTS_MAX_B)
    if files.MANIFEST not in files.names(path):
        return edition(raw, str(path / files.FACTS))
    manifest = read_manifest(path)
    stated = manifest.outputs.get(files.FACTS)
    if stated is None or stated.sha256 != sha256(raw):
        raise WattlensError(
            f"{path / files.FACTS}: its hash differs from the one in the manifest; see wattlens report verify {path}"
        )
    return edition(raw, str(path / files.FACTS), manifest.program, manifest.command)


def edition_of(folder: Path, *, label: str | None = None, organisation: str | None = None) -> tuple[int, str]:
    """Number and SHA-256 of the facts of an edition that is to be restated; the next has number + 1 and `restates` that hash.

    Args:
        folder: of the earlier report.
        label: period that is restated; None: any.
        organisation: whose report it is; None: anybody's.

    Raises:
        UsageError: it is of another period or organisation, or there is no such folder.
        WattlensError: as `read_edition`.
    """
    earlier = read_edition(folder)
    if label is not None and label != earlier.label:
        raise UsageError(f"{folder} is the report of {earlier.label}; expected the report of {label}, which is restated")
    if organisation is not None and earlier.rest.get("organisation") != form(organisation):
        raise UsageError(
            f"{folder} is the report of another organisation; pass the folder of the edition that this report restates"
        )
    return earlier.number, earlier.sha256


def edition(raw: bytes, name: str, program: str | None = None, command: Mapping[str, Argument] | None = None) -> Edition:
    """Parse the bytes of facts into an edition. Messages contain `name`.

    Raises:
        WattlensError: the bytes are not the facts of a report; the message names the key.
    """
    document = read_as(_Facts, raw, name)
    if program is None and document.version is not None:
        program = f"wattlens {document.version}"
    return Edition(
        name,
        sha256(raw),
        document.label,
        document.edition,
        document.restates,
        {site: (each.start_ns, each.end_ns, form(each.rest)) for site, each in document.sites.items()},
        {each.id: each.as_stated for each in document.figures},
        document.inputs.typed(document.factors),
        {key: form(value) for key, value in document.rest.items()},
        program,
        command,
        document.version,
    )
