"""The manifest of a report: inputs, program, arguments, and the hash of every file.

It contains no time and no local path, so the same ledger, arguments and libraries give the same bytes. With the manifest,
anyone can reproduce the report; a signature over the manifest shows who is responsible for the report.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, Strict, StringConstraints, model_validator

from energy_agent.core.errors import WattlensError
from reports.audit import folder as files
from reports.audit.canonical import (  # fmt: skip
    KEY_BY_KEY,
    TEXT_MAX,
    Count,
    EditionNumber,
    ExtensibleObject,
    Sha256,
    Text,
    canonical,
    read_as,
)
from reports.audit.inputs import EditionInputs, Factors, InputsDocument

SCHEMA: Final = "wattlens.report.manifest/1"
SHAPING: Final = ("codecarbon", "duckdb", "jinja2", "matplotlib", "pandas", "typst", "xlsxwriter")
"""Libraries whose release decides bytes of an output: another one explains a form that differs while the facts are the same."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

Argument = str | bool | int | tuple[str, ...] | None
_LongText = Annotated[str, StringConstraints(strict=True, max_length=TEXT_MAX)]


def _is_output(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in files.AROUND


def _plain_name(name: str) -> str:
    if not _is_output(name):
        raise ValueError("expected the name of a report file, without a folder")
    return name


class Provenance(ExtensibleObject):
    """Identity and inputs of a facts file."""

    label: Text
    edition: EditionNumber
    restates: Sha256 | None = None
    inputs: InputsDocument
    factors: Factors


class Output(ExtensibleObject):
    """A file of the report."""

    sha256: Sha256
    size_b: Count = Field(alias="bytes")


class Manifest(ExtensibleObject):
    """What `manifest.json` says.

    Args:
        program: such as "wattlens 0.5.0".
        command: the arguments that decide figures, by name; of a file or folder its name as given, never a path of a machine.
        label: of the period, such as 2026Q3.
        edition: number of editions before it; the file counts from 1.
        restates: SHA-256 of the facts that this edition restates.
        stated_inputs: inputs as the file lists them; see `inputs`.
        libraries: name -> version of what shaped the outputs.
    """

    schema_: Literal["wattlens.report.manifest/1"] = Field(alias="schema")
    program: Text
    command: Annotated[dict[str, Annotated[bool, Strict()] | Count | _LongText | tuple[Text, ...] | None], KEY_BY_KEY]
    label: Text
    edition: EditionNumber
    restates: Sha256 | None = None
    stated_inputs: InputsDocument = Field(alias="inputs")
    outputs: Annotated[dict[Annotated[str, AfterValidator(_plain_name)], Output], KEY_BY_KEY]
    libraries: Annotated[dict[str, Text], KEY_BY_KEY]

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if files.FACTS not in self.outputs:
            raise ValueError(f"outputs: {files.FACTS} is missing")
        if self.stated_inputs.ledger_root != (root := self.inputs.ledger_root):
            raise ValueError(f"inputs.ledger_root: not the hash of its days, {root}")
        return self

    @cached_property
    def inputs(self) -> EditionInputs:
        """Its inputs by their names."""
        return self.stated_inputs.typed()

    def as_bytes(self) -> bytes:
        """The file: what is signed."""
        outputs = {name: {"sha256": each.sha256, "bytes": each.size_b} for name, each in self.outputs.items()}
        command = {name: list(value) if isinstance(value, tuple) else value for name, value in self.command.items()}
        document = {
            "schema": SCHEMA,
            "program": self.program,
            "command": command,
            "label": self.label,
            "edition": self.edition + 1,
            "restates": self.restates,
            "inputs": self.inputs.plain() | {"ledger_root": self.inputs.ledger_root},
            "outputs": outputs,
            "libraries": dict(self.libraries),
        }
        return canonical(document)


def write_manifest(
    folder: Path,
    *,
    program: str,
    command: Mapping[str, Argument],
    outputs: Iterable[str],
    libraries: Mapping[str, str] | None = None,
) -> Manifest:
    """Write the manifest of a report whose files are all in `folder`; a signature of an earlier one is taken away.

    What the report was made of is taken from its facts, so that the two cannot disagree.

    Args:
        folder: of the report.
        program: name and version.
        command: the arguments that decide figures; see `as_named`, which every text goes through.
        outputs: names of the report's files, facts.json among them.
        libraries: by default what of SHAPING is installed.

    Raises:
        WattlensError: a file is not there, or the facts are not those of a report.
    """
    wanted = sorted(set(outputs) | {files.FACTS})
    if wrong := [name for name in wanted if not _is_output(name)]:
        raise ValueError(f"not a file of a report: {wrong}")
    facts = read_as(Provenance, files.read(folder / files.FACTS, files.FACTS_MAX_B), str(folder / files.FACTS))
    digests = {name: files.digest(folder / name) for name in wanted}
    inputs = facts.inputs.typed(facts.factors)
    manifest = Manifest.model_validate(
        {
            "schema": SCHEMA,
            "program": program,
            "command": {name: _named(value) for name, value in command.items()},
            "label": facts.label,
            "edition": facts.edition + 1,
            "restates": facts.restates,
            "inputs": inputs.plain() | {"ledger_root": inputs.ledger_root},
            "outputs": {name: {"sha256": sha256, "bytes": size_b} for name, (sha256, size_b) in digests.items()},
            "libraries": library_versions() if libraries is None else libraries,
        }
    )
    (folder / files.SIGNATURE).unlink(missing_ok=True)
    files.write(folder / files.MANIFEST, manifest.as_bytes())
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read and validate a report's manifest, which may come from an untrusted source.

    Raises:
        WattlensError: the manifest is missing, too large or invalid; the message names the key.
    """
    return parse_manifest(files.read(folder / files.MANIFEST, files.MANIFEST_MAX_B), str(folder / files.MANIFEST))


def parse_manifest(raw: bytes, file: str) -> Manifest:
    """Parse the bytes of a manifest. Messages contain `file`.

    Raises:
        WattlensError: the bytes are not a manifest or not in canonical form, or the ledger root does not match the days.
    """
    manifest = read_as(Manifest, raw, file)
    if manifest.as_bytes() != raw:
        raise WattlensError(f"{file}: not in the canonical form of a report; the file was changed")
    return manifest


def library_versions(names: Iterable[str] = SHAPING) -> dict[str, str]:
    """Which of them are installed, and their versions."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def as_named(text: str) -> str:
    """A path or URL as it may stand in a manifest: no folders of a machine, no password, no query.

    >>> as_named("/srv/wattlens/ledger"), as_named("s3://key:secret@fleet/ledger?token=1"), as_named("2026Q3")
    ('ledger', 's3://fleet/ledger', '2026Q3')
    """
    scheme, colon, rest = text.partition("://")
    if colon and scheme != "file":
        host, slash, path_in = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path_in}"
    path = PurePosixPath(rest if colon else text)
    return path.name if path.is_absolute() or path.parts[:1] in (("~",), ("..",)) else text


def sha256(raw: bytes) -> str:
    """The hash of bytes, as hashes stand here."""
    return hashlib.sha256(raw).hexdigest()


def _named(value: Argument) -> Argument:
    if isinstance(value, tuple):
        return tuple(as_named(each) for each in value)
    return as_named(value) if isinstance(value, str) else value
