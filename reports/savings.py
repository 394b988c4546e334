"""The DVFS savings statement that a run hands to the report: a small JSON file, read as hostile input.

A saving is an estimate of avoided energy: it stands outside the inventory and is never subtracted from it.
"""

import json
import os
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from energy_agent.core.errors import UsageError

MAX_BYTES = 64 * 1024
MAX_MAGNITUDE = Fraction(10) ** 18


@dataclass(frozen=True, slots=True)
class Savings:
    """Energy avoided, signed; `low_j` is the claimable bound. `slowdown_ratio` is 0.02 for 2 % slower, None if not measured."""

    saved_j: Fraction
    low_j: Fraction
    high_j: Fraction
    slowdown_ratio: Fraction | None = None
    method: str = "not stated"


def read_savings(path: Path) -> Savings:
    """The savings in the file.

    Raises:
        UsageError: unreadable, too large, not JSON, a key is missing or is not a finite number, or the bounds do not hold the
            estimate; the line names the file and the key.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--savings {path}: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"--savings {path}: larger than {MAX_BYTES} bytes, which no savings statement is")
    try:
        document = json.loads(raw, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--savings {path}: not JSON ({str(error)[:80]})") from None
    if not isinstance(document, dict):
        raise UsageError(f"--savings {path}: must be a JSON object with saved_j, low_j and high_j")
    saved, low, high = (_number(path, document, key) for key in ("saved_j", "low_j", "high_j"))
    if not low <= saved <= high:
        raise UsageError(f"--savings {path}: saved_j must lie between low_j and high_j")
    slowdown = _number(path, document, "slowdown_ratio") if document.get("slowdown_ratio") is not None else None
    method = document.get("method", "not stated")
    if not isinstance(method, str):
        raise UsageError(f"--savings {path}: method must be text")
    return Savings(saved, low, high, slowdown, method[:200])


def _number(path: Path, document: dict[str, Any], key: str) -> Fraction:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise UsageError(f"--savings {path}: {key} is missing or not a number")
    # An exponent such as 1e999999 must be refused before it is expanded.
    if isinstance(value, Decimal) and not -30 <= value.adjusted() <= 30:
        if value:
            raise UsageError(f"--savings {path}: {key} is out of range")
        return Fraction(0)
    exact = Fraction(value)
    if abs(exact) > MAX_MAGNITUDE:
        raise UsageError(f"--savings {path}: {key} is out of range")
    return exact


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")
