"""Downloads dashboards that people changed in Grafana as files for review."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dashboards.push.alert_rules import for_review
from dashboards.push.content import content, text
from energy_agent.core.errors import UsageError
from wattlens.grafana.survey import Survey

_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(slots=True)
class PullResult:
    """Result of a pull: files written, and files that had that content before."""

    written: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def pull(surveyed: Survey, folder: Path, *, everything: bool, replace: bool) -> PullResult:
    """Write objects that differ from the built ones, and dashboards that people created in the folder.

    Dashboards have the form of the built files, so that a comparison of both shows what was edited and nothing else.

    Args:
        surveyed: the objects in Grafana.
        folder: gets `dashboards/UID.json` and `alerts/UID.json`.
        everything: also write objects that equal the built ones.
        replace: overwrite existing files with other content.

    Raises:
        UsageError: a file with other content exists, and `replace` is false; nothing is written.
        OSError: a file cannot be written.
    """
    pulled = PullResult()
    wanted: dict[Path, str] = {}
    states = {(each.kind, each.uid): each for each in surveyed.changes}
    for uid, dashboard in sorted(surveyed.dashboards.items()):
        state = states.get(("dashboard", uid))
        if dashboard.newer:
            pulled.notes.append(f"dashboard {uid} has schema v2, which Grafana's /api does not return; export it in Grafana")
        elif everything or state is None or state.details or state.state in ("edited", "locked"):
            _take(uid, text(content(dashboard.content)), folder / "dashboards", wanted, pulled)
    for uid, rule in sorted(surveyed.rules.items()):
        state = states.get(("alert", uid))
        if everything or (state is not None and (state.details or state.state in ("edited", "locked"))):
            _take(uid, json.dumps(for_review(rule), sort_keys=True, indent=2) + "\n", folder / "alerts", wanted, pulled)
    _check(wanted, replace)
    for path, body in wanted.items():
        if _read(path) == body:
            pulled.unchanged.append(path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
        pulled.written.append(path)
    return pulled


def _take(uid: str, body: str, folder: Path, contents: dict[Path, str], pulled: PullResult) -> None:
    """Add a file named after the uid, after validating the uid: the server is not trusted."""
    if not _UID.fullmatch(uid):
        pulled.notes.append(f"skipped {uid[:60]!r}, which is not a valid Grafana uid")
        return
    contents[folder / f"{uid}.json"] = body


def _check(contents: dict[Path, str], replace: bool) -> None:
    if replace:
        return
    for path, body in contents.items():
        there = _read(path)
        if there is not None and there != body:
            raise UsageError(f"{path}: already exists with other content; use --replace, or choose another folder with --out")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not text'}") from None
