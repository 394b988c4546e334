"""Traces of requests: when each came, how long its prompt and how long its answer; read from the files that the public has.

Known by their first line, plain or gzip: the CSV of the Azure LLM inference trace (TIMESTAMP, ContextTokens, GeneratedTokens),
the JSON lines of Mooncake (timestamp in ms, input_length, output_length) and the same as CSV with timestamp_ms, and our own
(at_ms, prompt, output).
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

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
        """The requests of a stretch, with times from its beginning.

        Raises:
            UsageError: there are none.
        """
        end = float("inf") if seconds is None else from_s + seconds
        keep = [i for i, at in enumerate(self.arrive_s) if from_s <= at < end]
        if not keep:
            last = self.arrive_s[-1]
            raise UsageError(f"trace {self.name}: no request from {from_s:g} s on; the last one comes at {last:.0f} s")
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
        raise UsageError(f"trace {path}: cannot be read: {why}") from error
    if not rows:
        raise UsageError(f"trace {path}: has no requests")
    first = rows[0][0]
    return Trace(path.name, tuple(r[0] - first for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))


def _rows(lines: Iterator[str], where: str) -> Iterator[Row]:
    head = next(lines, "").lstrip("\ufeff").strip()
    if head.startswith("{"):
        numbered: Iterable[tuple[int, Callable[[], Row]]] = (
            (n, lambda line=line: _json_row(line))  # type: ignore[misc]
            for n, line in enumerate(chain([head], lines), start=1)
            if line.strip()
        )
    else:
        numbered = _csv_rows(head, lines, where)
    before = float("-inf")
    for count, (number, parse) in enumerate(numbered, start=1):
        if count > ROWS_LIMIT:
            raise UsageError(f"{where}: more than {ROWS_LIMIT} requests")
        try:
            at_s, prompt, output = parse()
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
            raise UsageError(f"{where}, line {number}: {_why(error)}") from error
        if not 1 <= prompt <= TOKENS_LIMIT or not 1 <= output <= TOKENS_LIMIT:
            raise UsageError(f"{where}, line {number}: tokens must be from 1 to {TOKENS_LIMIT}, got {prompt} and {output}")
        if not abs(at_s) < _LATEST_S:
            raise UsageError(f"{where}, line {number}: {at_s} is no time of an arrival")
        if at_s < before:
            raise UsageError(f"{where}, line {number}: comes before the line above it; sort the trace by time")
        before = at_s
        yield at_s, prompt, output


def _why(error: Exception) -> str:
    if isinstance(error, IndexError):
        return "has fewer columns than the first line"
    if isinstance(error, KeyError):
        return f"has no {error.args[0]}"
    return str(error)[:200]


def _json_row(line: str) -> Row:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("is no JSON object")
    return float(row["timestamp"]) / 1e3, _tokens(row["input_length"]), _tokens(row["output_length"])


def _tokens(value: object) -> int:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf") or number != int(number):
        raise ValueError(f"tokens must be whole numbers, got {value!r}")
    return int(number)


def _utc_s(text: str) -> float:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


_COLUMNS: tuple[tuple[tuple[str, str, str], Callable[[str], float]], ...] = (
    (("TIMESTAMP", "ContextTokens", "GeneratedTokens"), _utc_s),
    (("timestamp_ms", "input_length", "output_length"), lambda text: float(text) / 1e3),
    (("at_ms", "prompt", "output"), lambda text: float(text) / 1e3),
)


def _csv_rows(head: str, lines: Iterator[str], where: str) -> Iterator[tuple[int, Callable[[], Row]]]:
    names = [name.strip() for name in head.split(",")]
    found = next((pair for pair in _COLUMNS if set(pair[0]) <= set(names)), None)
    if found is None:
        known = "; ".join(", ".join(columns) for columns, _ in _COLUMNS)
        raise UsageError(f"{where}, line 1: no trace of requests; the columns may be {known}, or JSON lines like Mooncake's")
    time, places = found[1], [names.index(c) for c in found[0]]
    try:
        for number, cells in enumerate(csv.reader(lines), start=2):
            if cells:
                yield number, lambda c=cells: (time(c[places[0]]), _tokens(c[places[1]]), _tokens(c[places[2]]))  # type: ignore[misc]
    except csv.Error as error:
        raise UsageError(f"{where}: {error}") from error
