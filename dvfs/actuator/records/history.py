"""The actuator's history of rows for the ledger, also for times without an agent.

It is the only record of applied and restored settings: agents read its rows and write them to their ledgers. JSON lines with
ascending numbers, in two files at most. Restoring depends on the write-ahead journal only. So the history is not synced row by
row, and a row that cannot be written does not prevent setting or restoring.
"""

import contextlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dvfs.actuator.records.note import SettingNote

LOG = logging.getLogger("wattlens.actuator")
MAX_BYTES = 1 << 20
_START_GAP = 1 << 16
"""Numbers that a start leaves out. A power loss can take rows from the file that an agent has read already: a later row with
one of their numbers would never be read."""
PAGE = 8  # rows of an answer, or fewer where they do not fit the wire
_MAX_ROW = 2048  # ASCII characters; a longer row was not written by this program and might not fit in a message


@dataclass(frozen=True, slots=True)
class KnobChange:
    """One knob of one device that was set or restored.

    Args:
        utc_ns: when.
        device: its UUID.
        knob: power (mW) or clock (MHz, [low, high]).
        action: set | restore.
        value: the written value; None if nothing was written.
        outcome: ok, or the reason as one word.
        holder: owner of the lease.
        cause: request (of its owner) | expired | killed | start | retry | refused (a partly applied setting is reverted).
        note: why it was set. A restore has the note of the setting that it ends, with the owner's reason for ending it.
    """

    utc_ns: int
    device: str
    knob: str
    action: str
    value: Any
    outcome: str
    holder: str
    cause: str
    note: SettingNote | None = None


class ActuatorHistory:
    """The history rows of one state folder. The instance lock ensures a single writer."""

    def __init__(self, path: Path) -> None:
        """Continue after the last existing row; nothing is written yet."""
        self._path, self._old = path, path.with_suffix(".old")
        rows = list(self._rows())
        self._last = rows[-1]["number"] if rows else 0
        self._next = self._last + _START_GAP if rows else 1
        self.name = str(rows[-1]["name"]) if rows else secrets.token_hex(4)
        """Identifies the numbering, which restarts with an empty folder."""

    def add(self, did: KnobChange) -> None:
        """Append a row."""
        row = json.dumps({"number": self._next, "name": self.name, **asdict(did)}, separators=(",", ":"))
        line = f"\n{row}\n"  # begins with a line break too: one that a power loss or a full disk tore costs no other its row
        self._last, self._next = self._next, self._next + 1
        try:
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_size > MAX_BYTES // 2:
                    self._path.replace(self._old)
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
        except OSError as error:
            LOG.warning("%s: cannot report past actions: %s", self._path, error.strerror)

    def after(self, number: int) -> list[dict[str, Any]]:
        """The next rows after this number, at most PAGE of them."""
        if number >= self._last:
            return []
        return [row for row in self._rows() if row["number"] > number][:PAGE]

    def _rows(self) -> Iterator[dict[str, Any]]:
        for path in (self._old, self._path):
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError:
                continue
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):  # torn, or foreign
                    row = json.loads(line) if line.isascii() and len(line) <= _MAX_ROW else None
                    if isinstance(row, dict) and _is_number(row.get("number")) and isinstance(row.get("name"), str):
                        yield row


def _is_number(value: object) -> bool:
    return isinstance(value, int) and 0 < value < 1 << 62
