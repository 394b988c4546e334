"""An edition of a report as an auditor has it: its facts, read from a folder or a file that anybody may have written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError, WattlensError
from reports.audit import folder as files
from reports.audit.canonical import Found, canonical, exact, parse
from reports.audit.inputs import Inputs, read_inputs
from reports.audit.manifest import Argument, read_manifest, sha256
from reports.figures.figure import Figure

SCHEMA: Final = "wattlens.report.facts/2"
_KNOWN: Final = (
    "id", "value", "unit", "method", "boundary", "coverage", "low", "high", "sources", "factor_ids", "dims", "reason",
)  # fmt: skip
_TOLD: Final = ("figures", "factors", "inputs", "sites", "edition", "restates", "label", "missing", "version")
"""Keys of the facts that a difference looks into; the others are compared as they are."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A figure as an edition states it. `rest`: keys that this version does not know."""

    figure: Figure
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Edition:
    """The facts of one report, typed.

    Args:
        name: where they were read, for messages.
        sha256: of their bytes: what a later edition says that it restates.
        sites: name -> its period in UTC ns, and the rest of what is said of it.
        missing: what is not in it -> why.
        rest: every other key of the document -> its canonical form.
        program: name and version, from the manifest beside them or from the facts; None: neither tells.
        command: arguments from the manifest; None: there is none.
        version: of the program, as the facts say; None: they do not.
    """

    name: str
    sha256: str
    label: str
    number: int
    restates: str | None
    sites: Mapping[str, tuple[int, int, str]]
    figures: Mapping[str, Stated]
    inputs: Inputs
    missing: Mapping[str, str] = field(default_factory=dict)
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
        return edition(files.read(path, files.FACTS_MAX_B), str(path))
    raw = files.read(path / files.FACTS, files.FACTS_MAX_B)
    if not (path / files.MANIFEST).exists():
        return edition(raw, str(path / files.FACTS))
    manifest = read_manifest(path)
    stated = manifest.outputs.get(files.FACTS)
    if stated is None or stated.sha256 != sha256(raw):
        raise WattlensError(f"{path / files.FACTS}: its manifest has another hash of it; see wattlens report verify {path}")
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
        raise UsageError(f"{folder} is the report of {earlier.label}, which cannot be restated by one of {label}")
    if organisation is not None and earlier.rest.get("organisation") != _form(organisation):
        raise UsageError(f"{folder} is the report of another organisation; name the folder of the edition that is restated")
    return earlier.number, earlier.sha256


def edition(raw: bytes, name: str, program: str | None = None, command: Mapping[str, Argument] | None = None) -> Edition:
    """An edition of the bytes of its facts; `name` is told in messages.

    Raises:
        WattlensError: they are no facts of a report; the line names the key.
    """
    found = parse(raw, name)
    if found.at("schema").text() != SCHEMA:
        found.at("schema").wrong(repr(SCHEMA))
    figures: dict[str, Stated] = {}
    for each in found.at("figures").items():
        stated = _stated(each)
        if stated.figure.id in figures:
            each.wrong("each figure once")
        figures[stated.figure.id] = stated
    restates = found.maybe("restates")
    missing, version = found.maybe("missing"), found.maybe("version")
    if program is None and version is not None:
        program = f"wattlens {version.text()}"
    return Edition(
        name,
        sha256(raw),
        found.at("label").text(),
        found.at("edition").count(),
        restates.sha256() if restates else None,
        {site: _site(each) for site, each in found.at("sites").pairs()},
        figures,
        read_inputs(found.at("inputs"), found.at("factors")),
        _missing(missing) if missing else {},
        {key: _form(each.value) for key, each in found.pairs() if key not in _TOLD},
        program,
        command,
        version.text() if version else None,
    )


def _stated(found: Found) -> Stated:
    value, coverage, low, high = (_number(found, key) for key in ("value", "coverage", "low", "high"))
    reason = found.maybe("reason")
    names = {key: tuple(each.text() for each in found.at(key).items()) for key in ("sources", "factor_ids")}
    dims = {key: each.text() for key, each in found.at("dims").pairs()}
    identity, unit, method, boundary = (found.at(key).text() for key in ("id", "unit", "method", "boundary"))
    try:
        figure = Figure(
            identity, value, unit, method, boundary, coverage, low, high, names["sources"], names["factor_ids"], dims,
            reason.text() if reason else None,
        )  # fmt: skip
    except ValueError:
        found.wrong("either a value or the reason for which there is none")
    rest = {key: each.value for key, each in found.pairs() if key not in _KNOWN}
    return Stated(figure, _form(rest) if rest else "")


def _number(found: Found, key: str) -> Fraction | None:
    each = found.maybe(key)
    if each is None:
        return None
    number = exact(each.text())
    if number is None:
        each.wrong("a decimal number as text")
    return number


def _site(found: Found) -> tuple[int, int, str]:
    ends = []
    for key in ("start_ns", "end_ns"):
        text = found.at(key).text()
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            found.at(key).wrong("an instant in ns as text")
        ends.append(int(text))
    return ends[0], ends[1], _form({k: v.value for k, v in found.pairs() if k not in ("start_ns", "end_ns")})


def _missing(found: Found) -> dict[str, str]:
    """What is not there -> why, of an object or of a list of objects with `what` or `id`, and `reason`."""
    if isinstance(found.value, dict):
        return {name: each.value if isinstance(each.value, str) else _form(each.value) for name, each in found.pairs()}
    told = {}
    for each in found.items():
        if isinstance(each.value, str):
            told[each.text()] = "it is named among what is missing"
        elif (name := each.maybe("what") or each.maybe("id")) is not None:
            reason = each.maybe("reason")
            told[name.text()] = reason.text() if reason else "it is named among what is missing"
    return told


def _form(value: object) -> str:
    return canonical(value).decode().strip()
