"""Traces of requests: when each came, how long its prompt and how long its answer; read from the files that the public has.

Known by their first line, plain or gzip: the CSV of the Azure LLM inference trace (TIMESTAMP, ContextTokens, GeneratedTokens),
the JSON lines of Mooncake (timestamp in ms, input_length, output_length) and the same as CSV with timestamp_ms, and our own
(at_ms, prompt, output).
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from energy_agent.core.errors import UsageError

ROWS_LIMIT = 2_000_000
TOKENS_LIMIT = 10_000_000
_LINE_LIMIT = 1 << 20
_LATEST_S = 1e11

Row = tuple[float, int, int]


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival: s since the trace's beginning, tokens of prompt and of answer."""

    name: str
    arrive_s: tuple[float, ...]
    prompt: tuple[int, ...]
    output: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.arrive_s)

    def cut(self, from_s: float = 0.0, seconds: float | None = None) -> "Trace":
        """The requests of an interval, with times relative to its start.

        Raises:
            UsageError: the interval has no requests.
        """
        end = float("inf") if seconds is None else from_s + seconds
        keep = [i for i, at in enumerate(self.arrive_s) if from_s <= at < end]
        if not keep:
            last = self.arrive_s[-1]
            raise UsageError(f"trace {self.name}: no request after {from_s:g} s; the last one arrives at {last:.0f} s")
        return Trace(
            self.name,
            tuple(self.arrive_s[i] - from_s for i in keep),
            tuple(self.prompt[i] for i in keep),
            tuple(self.output[i] for i in keep),
        )

    def faster(self, rate: float) -> "Trace":
        """The same requests, `rate` times as many a second: time is compressed."""
        return Trace(self.name, tuple(at / rate for at in self.arrive_s), self.prompt, self.output)


def read(path: Path) -> Trace:
    """Read a trace.

    Raises:
        UsageError: unreadable, of no known form, a wrong row, not in order of time, empty or too long; names file and line.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8", newline="") if zipped else path.open(encoding="utf-8", newline="") as file:
            rows = list(_rows(iter(lambda: file.readline(_LINE_LIMIT), ""), f"trace {path}"))
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"trace {path}: cannot read: {why}") from error
    if not rows:
        raise UsageError(f"trace {path}: has no requests")
    first = rows[0][0]
    return Trace(path.name, tuple(r[0] - first for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))


def _rows(lines: Iterator[str], where: str) -> Iterator[Row]:
    head = next(lines, "").lstrip("\ufeff").strip()
    is_json, names = head.startswith("{"), [name.strip() for name in head.split(",")]
    form = _JSON if is_json else next((form for form in _CSV if all(names.count(name) == 1 for name in form[:3])), None)
    if form is None:
        known = "; ".join(", ".join(form[:3]) for form in _CSV)
        raise UsageError(f"{where}, line 1: expected the columns {known}, or JSON lines in Mooncake's format")
    time, prompt, output, seconds = form
    numbered = enumerate(chain([head], lines), start=1) if is_json else enumerate(csv.reader(lines), start=2)
    number, count, before = 1, 0, float("-inf")
    try:
        for line in numbered:
            number, raw = line
            if not raw or (isinstance(raw, str) and not raw.strip()):
                continue
            row = json.loads(raw) if isinstance(raw, str) else dict(zip(names, raw, strict=False))
            if not isinstance(row, dict):
                raise ValueError("is not a JSON object")
            at_s, tokens = seconds(row[time]), (_tokens(row[prompt]), _tokens(row[output]))
            if not all(1 <= each <= TOKENS_LIMIT for each in tokens):
                raise ValueError(f"tokens: expected numbers from 1 to {TOKENS_LIMIT}, got {tokens[0]} and {tokens[1]}")
            if not abs(at_s) < _LATEST_S:
                raise ValueError(f"{at_s} is not a valid arrival time")
            if at_s < before:
                raise ValueError("is earlier than the line before; sort the trace by time")
            before, count = at_s, count + 1
            if count > ROWS_LIMIT:
                raise ValueError(f"expected at most {ROWS_LIMIT} requests")
            yield at_s, *tokens
    except UnicodeDecodeError:  # of the file, which is read ahead of the lines
        raise
    except KeyError as error:
        raise UsageError(f"{where}, line {number}: has no {error.args[0]}") from error
    except (ValueError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        raise UsageError(f"{where}, line {number}: {str(error)[:200]}") from error


def _tokens(value: object) -> int:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf") or number != int(number):
        raise ValueError(f"tokens: expected integers, got {value!r}")
    return int(number)


def _utc_s(text: str) -> float:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _ms(value: Any) -> float:
    return float(value) / 1e3


_Form = tuple[str, str, str, Callable[[Any], float]]  # columns of time, prompt and answer, and the time in s
_JSON: _Form = ("timestamp", "input_length", "output_length", _ms)
_CSV: tuple[_Form, ...] = (
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens", _utc_s),
    ("timestamp_ms", "input_length", "output_length", _ms),
    ("at_ms", "prompt", "output", _ms),
)
