"""What steering saved, as files state it: an agent's own `savings.json`, or a statement of somebody's; read as hostile input.

A saving is an estimate of avoided energy: it stands outside the inventory and is never subtracted from it. Several add up,
their bounds linearly: nobody knows how their errors hang together.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from reports.period import Period

MAX_BYTES = 4 << 20
MAX_MAGNITUDE = Fraction(10) ** 18
PAIRED = "paired on/off blocks in random order"


@dataclass(frozen=True, slots=True)
class Saved:
    """Of one group of devices. `slowdown_ratio` is 0.02 for 2 % slower; None: not measured."""

    name: str
    saved_j: Fraction
    low_j: Fraction
    high_j: Fraction
    slowdown_ratio: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Savings:
    """Energy avoided, signed; `low_j` is the claimable bound. `slowdown_ratio` is the largest that was measured."""

    saved_j: Fraction
    low_j: Fraction
    high_j: Fraction
    slowdown_ratio: Fraction | None = None
    method: str = "not stated"
    parts: tuple[Saved, ...] = ()
    untold: tuple[tuple[str, str], ...] = ()  # groups of which nothing can be told yet, and why


def together(found: Sequence[Savings]) -> Savings:
    """Several statements as one."""
    parts: dict[str, Saved] = {}
    for part in (part for each in found for part in each.parts):
        name = next(n for n in (part.name, *(f"{part.name} ({i})" for i in range(2, len(parts) + 3))) if n not in parts)
        parts[name] = replace(part, name=name)
    slow = [each.slowdown_ratio for each in found if each.slowdown_ratio is not None]
    return Savings(
        sum((each.saved_j for each in found), Fraction(0)),
        sum((each.low_j for each in found), Fraction(0)),
        sum((each.high_j for each in found), Fraction(0)),
        max(slow) if slow else None,
        "; ".join(dict.fromkeys(each.method for each in found)),
        tuple(parts.values()),
        tuple(row for each in found for row in each.untold),
    )


def read_statements(paths: Sequence[Path], period: Period) -> Savings | None:
    """What several files state, together; None: there are none.

    Raises:
        UsageError: as `read_savings`, or a file of the same bytes is there twice: its saving would count twice.
    """
    seen: dict[str, Path] = {}
    found: list[Savings] = []
    for path in paths:
        raw = _read(path)
        first = seen.setdefault(hashlib.sha256(raw).hexdigest(), path)
        if len(seen) == len(found):
            raise UsageError(f"--savings {path}: says the same as {first}, byte for byte; a saving counts once, give it once")
        found.append(_parsed(path, raw, period))
    return together(found) if found else None


def read_savings(path: Path, period: Period | None = None) -> Savings:
    """The savings in the file.

    Args:
        path: of the file.
        period: of the report; a statement that says of when it is and has no part in it is refused.

    Raises:
        UsageError: unreadable, too large, not JSON, a key is missing or is not a finite number, the bounds do not hold the
            estimate, it is of another time, or nothing of it can be told yet; the line names the file and the key.
    """
    return _parsed(path, _read(path), period or Period())


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--savings {path}: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"--savings {path}: larger than {MAX_BYTES} bytes, which no savings statement is")
    return raw


def _parsed(path: Path, raw: bytes, period: Period) -> Savings:
    try:
        document = json.loads(raw, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--savings {path}: not JSON ({str(error)[:80]})") from None
    where = f"--savings {path}"
    if isinstance(document, dict) and document and all(isinstance(v, dict) and "pairs" in v for v in document.values()):
        return _of_agent(where, document)
    if not isinstance(document, dict):
        raise UsageError(f"{where}: must be a JSON object with saved_j, low_j and high_j")
    _refuse_other_time(where, document, period)
    method = document.get("method", "not stated")
    if not isinstance(method, str):
        raise UsageError(f"{where}: method must be text")
    name = document.get("name", path.stem)
    part = _saved(where, name if isinstance(name, str) else path.stem, document, ("saved_j", "low_j", "high_j"), Fraction(1))
    return Savings(part.saved_j, part.low_j, part.high_j, part.slowdown_ratio, method[:200], (part,))


def _refuse_other_time(where: str, document: dict[str, Any], period: Period) -> None:
    start_ns, end_ns = _instant(where, document, "from"), _instant(where, document, "to")
    if start_ns is not None and end_ns is not None and end_ns <= start_ns:
        raise UsageError(f"{where}: to is not after from")
    late = start_ns is not None and period.end_ns is not None and start_ns >= period.end_ns
    early = end_ns is not None and period.start_ns is not None and end_ns <= period.start_ns
    if late or early:
        when = f"from {document.get('from', 'the start')} to {document.get('to', 'now')}"
        raise UsageError(f"{where}: is {when}, which has no part in the report's period; leave it out")


def _instant(where: str, document: dict[str, Any], key: str) -> int | None:
    text = document.get(key)
    if text is None:
        return None
    try:
        if not isinstance(text, str):
            raise ValueError
        instant = datetime.fromisoformat(text)
        return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()) * NS_PER_S
    except (ValueError, OverflowError):
        raise UsageError(f"{where}: {key} is no instant such as 2026-07-01 or 2026-07-01T00:15Z") from None


def _of_agent(where: str, document: dict[str, Any]) -> Savings:
    """`savings.json` of an agent's state folder: by group, in uJ; a group whose saving is not told yet has a reason."""
    parts, untold = [], []
    for name, verdict in sorted(document.items()):
        saved = verdict.get("saved_uj")
        if saved is None:
            untold.append((name[:200], str(verdict.get("reason") or "not told")[:200]))
            continue
        if not isinstance(saved, dict):
            raise UsageError(f"{where}: {name[:40]}.saved_uj is not a value with its bounds")
        slowdown = verdict.get("slowdown_ratio")
        told = saved | {"slowdown_ratio": slowdown.get("value") if isinstance(slowdown, dict) else None}
        parts.append(_saved(where, name[:200], told, ("value", "low", "high"), Fraction(1, UJ_PER_J)))
    if not parts:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in untold[:3])
        raise UsageError(f"{where}: no saving can be told yet ({reasons})")
    each = [Savings(p.saved_j, p.low_j, p.high_j, p.slowdown_ratio, PAIRED, (p,)) for p in parts]
    found = together(each)
    return Savings(found.saved_j, found.low_j, found.high_j, found.slowdown_ratio, PAIRED, found.parts, tuple(untold))


def _saved(where: str, name: str, document: dict[str, Any], keys: tuple[str, str, str], unit: Fraction) -> Saved:
    saved, low, high = (_number(where, document, key) * unit for key in keys)
    if not low <= saved <= high:
        raise UsageError(f"{where}: {keys[0]} must lie between {keys[1]} and {keys[2]}")
    slowdown = _number(where, document, "slowdown_ratio") if document.get("slowdown_ratio") is not None else None
    return Saved(name, saved, low, high, slowdown)


def _number(where: str, document: dict[str, Any], key: str) -> Fraction:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise UsageError(f"{where}: {key} is missing or not a number")
    # An exponent such as 1e999999 must be refused before it is expanded.
    if isinstance(value, Decimal) and not -30 <= value.adjusted() <= 30:
        if value:
            raise UsageError(f"{where}: {key} is out of range")
        return Fraction(0)
    exact = Fraction(value)
    if abs(exact) > MAX_MAGNITUDE:
        raise UsageError(f"{where}: {key} is out of range")
    return exact


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")
