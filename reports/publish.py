"""Puts the forms of the report into a folder, each whole or not at all."""

import os
import tempfile
from pathlib import Path

from energy_agent.core.errors import UsageError, WattlensError
from reports.codecarbon_rows import write_emissions
from reports.facts import Facts
from reports.render import facts_json, html


def publish(facts: Facts, folder: Path) -> dict[str, Path]:
    """Write every form of the report; returns their paths by name.

    Raises:
        UsageError: the folder cannot be made.
        WattlensError: a library of the `reports` extra is missing, or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder}: {error.strerror}") from None
    try:
        page = html.page(facts)
    except ImportError:
        raise WattlensError("the report needs jinja2; install wattlens[reports]") from None
    return {
        "html": _write(folder / "index.html", page),
        "facts": _write(folder / "facts.json", facts_json.facts_json(facts, html.hidden_sections(facts))),
        "emissions": write_emissions(facts, folder),
    }


def _write(path: Path, text: str) -> Path:
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(scratch).chmod(0o644)
            Path(scratch).replace(path)
        except OSError:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WattlensError(f"{path}: cannot be written: {error.strerror}") from None
    return path
