"""A telling of a grid's intensity as a line of text, and a file of such lines read back. Pure.

A file is lines of canonical JSON: `{"about": ...}` says whose values follow, a point is one telling, and `{"torn_bytes": N}`
says that the N bytes of the line before were torn off by a crash. Anything else is damage.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from energy_agent.core.errors import JournalError
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.factors.series import About, IntensityPoint, decimal_text

LINE_MAX_B: Final = 4096
_POINT: Final = frozenset({"start_ns", "end_ns", "g_per_kwh", "estimated", "known_ns", "method", "raw_sha256"})


@dataclass(slots=True)
class SeriesFileContent:
    """A file's content.

    Args:
        about: whose its newest points are; None in a file without any.
        torn: what was left of lines that were torn off and closed, a line of text for each.
        torn_b: bytes at its end of a line that was torn off and not yet closed.
        unended: its last line is whole and only lacks its end.
    """

    about: About | None = None
    points: list[IntensityPoint] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    torn_b: int = 0
    unended: bool = False


def parse(raw: bytes, name: str) -> SeriesFileContent:
    """A file's content.

    Raises:
        JournalError: a line in its middle is damaged; the message names file and line.
    """
    page = SeriesFileContent()
    *lines, tail = raw.split(b"\n")
    broken: int | None = None  # a line that must be followed by its mark
    for number, line in enumerate(lines, 1):
        record = _decoded(line)
        if broken is not None:
            if record is None or record != {"torn_bytes": len(lines[broken - 1])}:
                break
            page.torn.append(f"{name}, line {broken}: incomplete line of {len(lines[broken - 1])} bytes")
            broken = None
        elif not _takes(page, record):
            broken = number
    if broken is not None:
        raise JournalError(f"{name}, line {broken}: expected a record of a grid's intensity; restore the file from a backup")
    # No beginning of an object is an object: what can be read is whole.
    page.unended = bool(tail) and _takes(page, _decoded(tail))
    page.torn_b = 0 if page.unended else len(tail)
    return page


def point_line(point: IntensityPoint) -> str:
    """The line of a point."""
    return _line(
        {
            "start_ns": point.start_ns,
            "end_ns": point.end_ns,
            "g_per_kwh": decimal_text(point.g_per_kwh),
            "estimated": point.estimated,
            "known_ns": point.known_ns,
            "method": point.method,
            "raw_sha256": point.raw_sha256,
        }
    )


def about_line(about: About) -> str:
    """The line that says whose points follow."""
    basis = about.basis
    page = {
        "id": about.id,
        "zone": about.zone,
        "boundary": basis.boundary.value,
        "accounting": basis.accounting.value,
        "gases": basis.gases.value,
        "publisher": about.publisher,
        "licence": about.licence,
        "gwp_set": about.gwp_set,
        "quality": about.quality,
    }
    return _line({"about": page})


def torn_line(torn_b: int) -> str:
    """The line that follows a torn line and marks it as such."""
    return _line({"torn_bytes": torn_b})


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n"


def _decoded(line: bytes) -> dict[str, Any] | None:
    if len(line) > LINE_MAX_B:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _takes(page: SeriesFileContent, record: Mapping[str, Any] | None) -> bool:
    """Add a record to the content; False where it is not a valid record."""
    if record is None:
        return False
    try:
        if record.keys() == {"about"}:
            page.about = _about(record["about"])
        else:
            page.points.append(_point(record))
    except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation):
        return False
    return True


def _point(record: Mapping[str, Any]) -> IntensityPoint:
    numbers = [record[key] for key in ("start_ns", "end_ns", "known_ns")]
    texts = [record[key] for key in ("g_per_kwh", "method", "raw_sha256")]
    whole = all(type(n) is int for n in numbers) and all(isinstance(t, str) for t in texts)
    if record.keys() != _POINT or not whole or not isinstance(record["estimated"], bool):
        raise ValueError("expected the fields of a point")
    return IntensityPoint(numbers[0], numbers[1], Decimal(texts[0]), record["estimated"], numbers[2], texts[1], texts[2])


def _about(page: Mapping[str, Any]) -> About:
    basis = Basis(EmissionBoundary(page["boundary"]), Accounting(page["accounting"]), Gases(page["gases"]))
    texts = [page[key] for key in ("id", "zone", "publisher", "licence", "gwp_set")]
    if not all(isinstance(text, str) for text in texts) or type(page["quality"]) is not int:
        raise ValueError("expected the fields of a source")
    return About(texts[0], texts[1], basis, texts[2], texts[3], texts[4], page["quality"])
