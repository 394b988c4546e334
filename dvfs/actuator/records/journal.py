"""The actuator's write-ahead journal: original settings, on disk before the first write of a knob.

JSON lines, appended with fsync; keyed by boot and driver epoch, since a setting does not outlive them. A torn last line is a
record whose fsync never returned, so the write it would have preceded never happened: it is dropped. Folding the file gives,
per (device, knob), the oldest backup and the values that the actuator may have set on the device. A file that has grown is
replaced by one with the same result. Knob values: power is mW, clock is "unlocked" or [low, high] MHz.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dvfs.actuator.records.note import SettingNote, read_note
from dvfs.types import Knob
from energy_agent.core.errors import JournalError

LOG = logging.getLogger("wattlens.actuator")
SCHEMA = 1
_MAX_BYTES = 16 << 20

Value = int | str | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Epoch:
    """Where a setting lives: one boot of the machine and one load of the driver."""

    boot_id: str
    driver: str


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A knob that the actuator has (perhaps) changed: `ours` are the values that it may have set."""

    device: str
    knob: Knob
    backup: Value
    epoch: Epoch
    holder: str
    ours: tuple[Value, ...] = ()
    note: SettingNote | None = None  # of the last setting

    @property
    def key(self) -> tuple[str, Knob]:
        """Its place in the journal."""
        return self.device, self.knob


_Open = dict[tuple[str, Knob], Outstanding]


class ActuatorJournal:
    """The journal of one actuator; the instance lock ensures that only one process uses it."""

    def __init__(self, path: Path, compact_bytes: int = 256 << 10) -> None:
        """Open or create, and fold. Above `compact_bytes` the file is replaced where that halves it.

        Raises:
            JournalError: unreadable, or a line other than the last is damaged.
        """
        self._path, self._compact_bytes = path, compact_bytes
        self._least_bytes = 0  # size of the file after it was replaced last
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            _sync_folder(path.parent)
        except OSError as error:
            raise JournalError(f"{path}: cannot open the actuator's journal: {error.strerror}") from error
        try:
            self._open = self._read()
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Close the file; appended records are on disk already."""
        os.close(self._fd)

    @property
    def outstanding(self) -> list[Outstanding]:
        """Knobs to restore, in the order of their first write."""
        return list(self._open.values())

    def get(self, device: str, knob: Knob) -> Outstanding | None:
        """The outstanding record of a knob."""
        return self._open.get((device, knob))

    def intend(
        self,
        epoch: Epoch,
        holder: str,
        utc_ns: int,
        writes: list[tuple[str, Knob, Value, Value]],
        note: SettingNote | None = None,
    ) -> None:
        """Put (device, knob, value found, value to write) on disk, before the write. An existing backup is kept.

        Raises:
            JournalError: not on disk; the caller must not write.
        """
        self._append(
            [
                _intent(Outstanding(device, knob, original, epoch, holder, note=note), value) | {"utc_ns": utc_ns}
                for device, knob, original, value in writes
            ]
        )

    def settled(self, device: str, knob: Knob, value: Value) -> None:
        """The device now shows `value`, as read back: it no longer has older values of `ours`."""
        self._append([{"kind": "settled", "device": device, "knob": knob, "value": value}])

    def closed(self, device: str, knob: Knob, outcome: str, utc_ns: int) -> None:
        """The actuator no longer controls the knob: restored, foreign, or of another epoch (`outcome`)."""
        self._append([{"kind": "closed", "device": device, "knob": knob, "outcome": outcome, "utc_ns": utc_ns}])

    def _append(self, records: list[dict[str, Any]]) -> None:
        try:
            end = os.fstat(self._fd).st_size
            if end > max(self._compact_bytes, 2 * self._least_bytes):
                self._compact()
                end = os.fstat(self._fd).st_size
            try:
                _write(self._fd, records)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, end)  # half a line must not stand before the next one
                raise
        except OSError as error:
            raise JournalError(f"{self._path}: cannot write the actuator's journal: {error.strerror}") from error
        for record in records:
            _apply(self._open, json.loads(json.dumps(record)))

    def _read(self) -> _Open:
        fold: _Open = {}
        size = os.fstat(self._fd).st_size
        if size > _MAX_BYTES:
            raise JournalError(
                f"{self._path}: {size} bytes are not an actuator's journal; check the devices, then move the file away"
            )
        data = os.pread(self._fd, size, 0)
        whole, _, torn = data.rpartition(b"\n")
        for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
            try:
                record = json.loads(line)
                if record["schema"] != SCHEMA:
                    raise ValueError(f"schema {record['schema']}")
                _apply(fold, record)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise JournalError(
                    f"{self._path}:{number}: damaged ({error}); no setting is applied until the file is moved away"
                ) from error
        if torn:
            os.ftruncate(self._fd, size - len(torn))
            os.fsync(self._fd)
        return fold

    def _compact(self) -> None:
        """Replace the file by its folded content; keep the file if that fails."""
        draft = self._path.with_name(f"{self._path.name}.new")
        records = [_intent(one, value) for one in self._open.values() for value in one.ours]
        fd = -1
        try:
            fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            _write(fd, records)
            draft.replace(self._path)
        except OSError as error:
            LOG.warning("%s: cannot compact the journal: %s", draft, error.strerror)
            if fd >= 0:
                os.close(fd)
            return
        os.close(self._fd)
        self._fd = fd
        self._least_bytes = os.fstat(fd).st_size
        _sync_folder(self._path.parent)


def _intent(one: Outstanding, value: Value) -> dict[str, Any]:
    """The record that `value` may be written to the device; `one.backup` is the original value."""
    note = {} if one.note is None else {"note": one.note.as_json()}
    return {
        "kind": "intent", "device": one.device, "knob": one.knob, "found": one.backup, "value": value, "holder": one.holder,
        "boot": one.epoch.boot_id, "driver": one.epoch.driver, **note,
    }  # fmt: skip


def _write(fd: int, records: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps({"schema": SCHEMA, **r}, separators=(",", ":")) + "\n" for r in records)
    view = memoryview(text.encode())
    while view:
        view = view[os.write(fd, view) :]
    os.fsync(fd)


def _apply(fold: _Open, record: dict[str, Any]) -> None:
    device, knob = str(record["device"]), record["knob"]
    if knob not in ("power", "clock"):
        raise ValueError(f"knob {knob!r}")
    key: tuple[str, Knob] = (device, knob)
    kind, before = record["kind"], fold.get(key)
    if kind == "intent":
        value = _value(record["value"])
        if before is None:
            epoch = Epoch(str(record["boot"]), str(record["driver"]))
            before = Outstanding(device, knob, _value(record["found"]), epoch, str(record["holder"]))
        ours = (*(v for v in before.ours if v != value), value)
        fold[key] = replace(before, ours=ours, note=read_note(record.get("note")))
    elif kind == "settled":
        if before is None:
            raise ValueError("a setting was settled without a recorded intent")
        fold[key] = replace(before, ours=(_value(record["value"]),))
    elif kind == "closed":
        fold.pop(key, None)
    else:
        raise ValueError(f"kind {kind!r}")


def _value(raw: object) -> Value:
    if isinstance(raw, list | tuple) and len(raw) == 2 and all(isinstance(x, int) for x in raw):
        return int(raw[0]), int(raw[1])
    if raw == "unlocked":
        return "unlocked"
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise ValueError(f"value {raw!r}")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
