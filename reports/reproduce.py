"""Render the forms of a report again from its `facts.json`, and compare them with those in its folder.

A form is a function of the facts, the language, the paper, this program and the libraries that render it. A manipulated form
with a matching hash in an unsigned manifest therefore differs from the facts; manipulated facts differ from the ledger.
"""

import io
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from energy_agent.core.errors import WattlensError
from reports.audit import folder as files
from reports.audit.canonical import parse
from reports.audit.manifest import Argument, Manifest, library_versions, sha256
from reports.audit.typefaces import describe_fonts
from reports.audit.verification import VerificationStep
from reports.figures.facts import Facts
from reports.figures.facts_json import facts_json
from reports.language import LANGUAGES, say_in
from reports.publish import FORMS, NAMES, make

DRAWN_BY: Final = {
    "html": ("jinja2", "matplotlib"),
    "pdf": ("matplotlib", "typst"),
    "xlsx": ("xlsxwriter",),
    "csv": (),
    "emissions": ("codecarbon", "pandas"),
    "boamps": ("codecarbon",),
    "focus": (),
}
"""Libraries of which another release may give a form other bytes."""
PAPERS: Final[dict[str, Literal["a4", "letter"]]] = {"a4": "a4", "letter": "letter"}
_NAME: Final = "forms"
_NO_REPORT: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What sections raise of facts of the right form that no ledger gives: a figure is not there, or a word stands for a number."""


def drawn_again(
    folder: Path, manifest: Manifest, raw: bytes, program: str, font_dirs: Sequence[Path] = ()
) -> list[VerificationStep]:
    """Make each form of a report again and compare it with the one in the folder.

    Args:
        folder: of the report.
        manifest: of the report.
        raw: its facts.json.
        program: name and version of the program that runs.
        font_dirs: for a PDF with letters of other scripts.
    """
    try:
        forms, language, paper = _parse_command(manifest.command)
    except WattlensError as error:
        return [VerificationStep(_NAME, False, str(error))]
    checks = _check_forms(forms, manifest)
    if program != manifest.program:
        return [
            *checks,
            VerificationStep(_NAME, None, f"not recreated: {manifest.program} created them, and this is {program}"),
        ]
    try:
        facts = facts_of(raw, files.FACTS)
    except WattlensError as error:
        return [*checks, VerificationStep(_NAME, False, f"cannot be recreated: {error}")]
    same, steps = [], []
    with tempfile.TemporaryDirectory(prefix="wattlens-forms-") as scratch:
        for form in forms:
            name = NAMES[form]
            if name not in manifest.outputs or not (folder / name).is_file():
                continue  # already reported
            try:
                make(facts, Path(scratch), say_in(language), (form,), paper, font_dirs)
                wrong = _difference(folder / name, (Path(scratch) / name).read_bytes())
            except WattlensError as error:
                steps.append(VerificationStep(_NAME, None, f"{name} is not compared: {error}"))
                continue
            except _NO_REPORT as error:
                steps.append(
                    VerificationStep(_NAME, False, f"{name} cannot be created from these facts: {type(error).__name__}")
                )
                continue
            if wrong is None:
                same.append(name)
            elif why := _excuse(form, manifest, describe_fonts(raw, language, font_dirs)):
                steps.append(VerificationStep(_NAME, None, f"{name} is not compared: {why}"))
            else:
                steps.append(VerificationStep(_NAME, False, f"{name} differs from what facts.json gives{wrong}"))
    if same:
        checks.append(VerificationStep(_NAME, True, f"recreated from facts.json, identical: {', '.join(same)}"))
    return checks + steps


_BESIDE: Final = ("sha256", "requests", "why")
"""Keys of a factor's record that its publisher does not provide."""


def facts_of(raw: bytes, file: str) -> Facts:
    """The facts of the bytes of a facts.json.

    Raises:
        WattlensError: they are not what this program writes of any facts.
    """
    from pydantic import TypeAdapter, ValidationError

    document: Any = parse(raw, file)
    try:
        document = dict(document)
        inputs = document.pop("inputs")
        document["days"] = inputs["days"]
        document["files"] = [(each["name"], each["sha256"]) for each in inputs["files"]]
        document["figures"] = {each["id"]: each for each in document["figures"]}
        if (sums := document["conservation"]) is not None:
            document["conservation"] = {key: value for key, value in sums.items() if key not in ("buckets_uj", "holds")}
        document["edition"] -= 1
        document["factors"] = [
            {"factor": {k: v for k, v in each.items() if k not in _BESIDE}} | {k: each[k] for k in _BESIDE if k in each}
            for each in document["factors"]
        ]
        facts = TypeAdapter(Facts).validate_python(document)
        written = facts_json(facts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise WattlensError(f"{file}: {'.'.join(map(str, first['loc']))[:200]}: {first['msg']}") from None
    except (KeyError, TypeError, AttributeError, ValueError):
        raise WattlensError(f"{file}: not in the canonical form of a report; the file was changed") from None
    if written != raw:
        raise WattlensError(f"{file}: not in the canonical form of a report; the file was changed")
    return facts


def _parse_command(command: Any) -> tuple[tuple[str, ...], str, Literal["a4", "letter"]]:
    """Parse forms, language and paper from the manifest's command."""
    options: dict[str, Argument] = dict(command)
    forms, language, paper = options.get("formats"), options.get("language"), options.get("paper")
    if not isinstance(forms, tuple) or len(set(forms)) < len(forms) or not set(forms) <= set(FORMS):
        raise WattlensError("the manifest does not name the formats; create the report again")
    size = PAPERS.get(paper) if isinstance(paper, str) else None
    if language not in LANGUAGES or size is None:
        raise WattlensError("the manifest does not name the language and the paper size; create the report again")
    return tuple(form for form in FORMS if form in forms), str(language), size


def _check_forms(forms: Sequence[str], manifest: Manifest) -> list[VerificationStep]:
    """Check that the requested forms and the files of the report are the same."""
    wanted, named = {NAMES[form] for form in forms}, set(manifest.outputs) - {files.FACTS}
    missing = [
        VerificationStep(_NAME, False, f"{name} was requested, but is not in the manifest") for name in sorted(wanted - named)
    ]
    return missing + [VerificationStep(_NAME, False, f"{name} was not requested") for name in sorted(named - wanted)]


def _difference(path: Path, content: bytes) -> str | None:
    """Describe where a form differs from the rendered one, as words after "not what facts.json gives"; None if it is equal."""
    if files.digest(path)[0] == sha256(content):
        return None
    try:
        actual = files.read(path, 4 * len(content) + files.SMALL_MAX_B)
    except WattlensError:
        return ": it is much larger"
    if path.suffix in (".xlsx", ".zip"):
        return None if _same_members(actual, content) else ""
    if path.suffix == ".pdf":
        return ""
    lines = zip(actual.split(b"\n"), content.split(b"\n"), strict=False)
    number = next((n for n, (a, b) in enumerate(lines, 1) if a != b), None)
    return ": its end differs" if number is None else f": line {number} differs"


def _same_members(actual: bytes, content: bytes) -> bool:
    """Whether two workbooks hold the same files: another zlib packs the same ones into other bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(actual)) as a, zipfile.ZipFile(io.BytesIO(content)) as b:
            if [(each.filename, each.file_size) for each in a.infolist()] != [(i.filename, i.file_size) for i in b.infolist()]:
                return False
            return all(a.read(name) == b.read(name) for name in b.namelist())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError):
        return False


def _excuse(form: str, manifest: Manifest, fonts: str | None) -> str:
    """Why a form that differs may be the same one all the same; "": nothing says so."""
    here = library_versions(DRAWN_BY[form])
    other = [name for name in DRAWN_BY[form] if manifest.libraries.get(name, here.get(name)) != here.get(name)]
    if other:
        named = ", ".join(f"{name} {manifest.libraries[name]}" for name in other)
        return f"drawn with {named}, but this machine has {', '.join(f'{name} {here.get(name)}' for name in other)}"
    if form == "pdf" and fonts != manifest.command.get("fonts"):
        return "it has letters in fonts that differ from those here; pass the folder of its fonts with --font-dir"
    return ""
