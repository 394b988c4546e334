"""Makes the forms of the report and puts them into a folder."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.units import NS_PER_S
from reports.audit import folder as files
from reports.audit.canonical import form
from reports.audit.edition import read_edition
from reports.audit.manifest import Argument, write_manifest
from reports.audit.placing import OWN_NAMES, named, prefix, put, refuse_folders, writing
from reports.audit.signing import sign_manifest
from reports.audit.typefaces import describe_fonts
from reports.compose import compose, too_little
from reports.figures.facts import Facts
from reports.figures.facts_json import facts_json
from reports.language import Translator
from reports.ledger.scratch import is_compacted
from reports.render.codecarbon import write_boamps, write_emissions

FORMS: Final = ("html", "pdf", "xlsx", "csv", "emissions", "boamps", "focus")
"""Formats that can be written in addition to facts.json, which is always written."""
USUAL: Final = FORMS[:5]
"""Formats that are written unless others are requested."""
NAMES: Final = {
    "html": "report.html",
    "pdf": "report.pdf",
    "xlsx": "report.xlsx",
    "csv": "figures.csv",
    "emissions": "emissions.csv",
    "boamps": "boamps.zip",
    "focus": "focus.csv",
}
_ALL: Final = (*NAMES.values(), *OWN_NAMES)


def refuse_occupied(folder: Path) -> None:
    """Check that a report can be put into a folder, before long work for it begins; the folder need not be there.

    Raises:
        UsageError: it is a file, or holds a folder under the name of a file of a report.
    """
    refuse_folders(folder, _ALL)


def refuse_overwriting(folder: Path, ledger: str, restates: Path | None) -> None:
    """Check that a report is not put where it would change the ledger or the edition that it restates.

    Args:
        folder: of the report; need not be there.
        ledger: folder or URL that it is made of.
        restates: folder of the edition before, if there is one.

    Raises:
        UsageError: it is that edition's, or one before that, or within it; it is the ledger; it lies in the compacted days, or
            they in it.
    """
    out = folder.resolve()
    if restates is not None:
        earlier = read_edition(restates)
        facts_file = out / files.FACTS
        digest = files.digest(facts_file)[0] if facts_file.exists() else None
        if out.is_relative_to(restates.resolve()) or digest in {earlier.sha256, earlier.restates} - {None}:
            raise UsageError(
                f"--out {folder}: contains an edition that is restated, and the report of a closed period is never changed; "
                "choose another folder"
            )
    local = ledger.removeprefix("file://")
    if "://" in local:
        return
    source = Path(local).resolve()
    if out == source:
        raise UsageError(f"--out {folder}: is the folder of the ledger, which a report must not change; choose another folder")
    if is_compacted(source) and (out.is_relative_to(source) or source.is_relative_to(out)):
        where = "lies in the ledger's compacted days" if out.is_relative_to(source) else "contains the ledger's compacted days"
        raise UsageError(f"--out {folder}: {where}, which a report must not change; choose another folder")


def _refuse_changing(folder: Path, scratch: Path, *, signed: bool) -> None:
    """Check that a folder has no final report with other facts: an interim one may be replaced, the same facts written again.

    Args:
        folder: of the report; need not have one.
        scratch: folder with the new report, without its manifest.
        signed: whether the new report is to be signed.

    Raises:
        UsageError: it has one, or the same facts with forms or a signature that the new report does not have.
        WattlensError: the report in it cannot be read, so that its status is unknown.
    """
    if not (folder / files.MANIFEST).exists():
        return  # of a run that was cut off
    if (folder / files.FACTS).exists() and files.digest(folder / files.FACTS) == files.digest(scratch / files.FACTS):
        lost = named(folder) - set(files.names(scratch)) | (set() if signed else {files.SIGNATURE})
        if removed := sorted(lost & set(files.names(folder))):
            raise UsageError(
                f"--out {folder}: contains the same figures with {', '.join(removed)}, which this run would remove; "
                "add the format to --formats, or --sign-key, or choose another folder"
            )
        return
    existing = read_edition(folder)
    if existing.rest.get("status") != form("interim"):
        of = f" of {existing.label}" if existing.label else ""
        raise UsageError(
            f"--out {folder}: contains a final report{of} with other figures (edition {existing.number + 1}); "
            f"choose another folder, and restate it with --restates {folder} --reason TEXT"
        )


def publish(
    facts: Facts,
    folder: Path,
    say: Translator,
    *,
    forms: Sequence[str] = USUAL,
    paper: Literal["a4", "letter"] = "a4",
    font_dirs: Sequence[Path] = (),
    command: Mapping[str, Argument] | None = None,
    sign_key: Path | None = None,
    passphrase: Path | None = None,
) -> dict[str, Path]:
    """Write the report; returns the paths of its files by name.

    Files are created in a temporary subfolder and moved when all of them are complete; see `reports.audit.placing`.

    Args:
        facts: the facts to present.
        folder: output folder, created if missing. Files of an interim report in it, or of one with the same facts, are
            replaced; other files are left alone.
        say: the translator.
        forms: formats, of FORMS.
        paper: paper size of the PDF.
        font_dirs: fonts for the PDF and charts in other scripts.
        command: the arguments that decide figures, for the manifest, which also keeps those that decide the forms.
        sign_key: key that signs the manifest; None: the manifest is not signed.
        passphrase: file with the key's passphrase.

    Raises:
        UsageError: the folder cannot be created, or has a subfolder with the name of a file or a final report with other facts;
            the key is not valid, or no font has a required character.
        WattlensError: a library of the `reports` extra is missing, a file cannot be written, or another run writes there.
    """
    refuse_occupied(folder)
    with writing(folder), tempfile.TemporaryDirectory(prefix=prefix(), dir=folder, ignore_cleanup_errors=True) as temp_folder:
        scratch = Path(temp_folder)
        outputs = make(facts, scratch, say, forms, paper, font_dirs)
        _refuse_changing(folder, scratch, signed=sign_key is not None)
        wanted = tuple(form for form in FORMS if form in forms)
        arguments: dict[str, Argument] = {"formats": wanted, "language": say.language, "paper": paper}
        if "pdf" in wanted and (fonts := describe_fonts((scratch / files.FACTS).read_bytes(), say.language, font_dirs)):
            arguments["fonts"] = fonts
        write_manifest(scratch, program=f"wattlens {facts.version}", command={**(command or {}), **arguments}, outputs=outputs)
        if sign_key is not None:
            sign_manifest(scratch, sign_key, passphrase)
        put(scratch, folder, _ALL)
    return {"facts": folder / "facts.json", **{form: folder / NAMES[form] for form in FORMS if form in forms}}


def make(
    facts: Facts,
    scratch: Path,
    say: Translator,
    forms: Sequence[str],
    paper: Literal["a4", "letter"],
    font_dirs: Sequence[Path],
) -> list[str]:
    """Create facts.json and the forms in a folder; returns their names.

    The same facts, language, paper, program and libraries give the same forms: `reports.reproduce` renders them again.

    Args:
        facts: the facts to present; the caller has accepted any coverage below the required minimum.
        scratch: output folder.
        say: the translator.
        forms: formats, of FORMS.
        paper: paper size of the PDF.
        font_dirs: fonts for the PDF in other scripts.

    Raises:
        UsageError: no font has a required character.
        WattlensError: a library of the `reports` extra is missing, or a form cannot be created.
    """
    from reports.render.figures_csv import figures_csv
    from reports.render.focus import focus_csv
    from reports.render.html import html
    from reports.render.pdf import pdf
    from reports.render.xlsx import xlsx

    raw = facts_json(facts)
    document = compose(facts, say, accepted=too_little(facts))
    dated = max(datetime.fromtimestamp(int(s.end_ns) // NS_PER_S, UTC).date() for s in facts.sites.values())
    makers: dict[str, Callable[[], bytes]] = {
        "html": lambda: html(document).encode(),
        "pdf": lambda: pdf(document, paper, font_dirs, raw, dated),
        "xlsx": lambda: xlsx(facts, say),
        "csv": lambda: figures_csv(facts).encode(),
        "focus": lambda: focus_csv(facts).encode(),
    }
    (scratch / "facts.json").write_bytes(raw)
    try:
        for form, make in makers.items():
            if form in forms:
                (scratch / NAMES[form]).write_bytes(make())
    except ImportError as error:
        raise WattlensError(f"the report needs {error.name}; {install_hint('reports')}") from None
    if "emissions" in forms:
        write_emissions(facts, scratch)
    if "boamps" in forms:
        write_boamps(facts, scratch)
    return ["facts.json", *(NAMES[form] for form in FORMS if form in forms)]
