"""Copy segments to an fsspec URL, each once and whole, never over an existing file."""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energy_agent.core.errors import ChainError, WattlensError
from energy_agent.ledger.chain import Progress
from energy_agent.ledger.fleet.remote import open_url
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import read_bounded


@dataclass(frozen=True, slots=True)
class Shipment:
    """What `ship` did."""

    copied: int
    unchanged: int  # were there already, with the same content
    refused: tuple[str, ...] = ()  # a line for each that is damaged here, or has other content there


def ship(files: Sequence[Path], url: str, progress: Progress | None = None) -> Shipment:
    """Copy segments to `url`; a file that is there already is compared, not copied.

    A copy gets a temporary name, is read back and compared by its hash, and is then renamed, so that no reader ever sees half a
    segment under its name. Done again after any failure, it goes on where it stopped. A segment that is damaged here, or whose
    name is taken there, does not keep the others from being copied.

    Raises:
        UsageError: no such protocol, or its package is not installed.
        WattlensError: the copy failed.
    """
    system, root = open_url(url)
    folder = _LocalFolder(Path(root)) if "file" in _protocols(system) else _RemoteFolder(system, root.rstrip("/"))
    copied = unchanged = 0
    refused: list[str] = []
    try:
        folder.create()
        for number, path in enumerate(files):
            if progress is not None:
                progress(number, len(files))
            try:
                if _ship_one(folder, path):
                    copied += 1
                else:
                    unchanged += 1
            except ChainError as error:
                refused.append(str(error))
    except WattlensError:
        raise
    except Exception as error:  # fsspec's file systems raise whatever their libraries raise
        raise WattlensError(
            f"{url}: shipping failed after {copied} segments: {error}; run the command again to continue"
        ) from error
    return Shipment(copied, unchanged, tuple(refused))


def _ship_one(folder: "_LocalFolder | _RemoteFolder", path: Path) -> bool:
    """Whether it was copied; False if it was there."""
    data = read_bounded(path, segment.FILE_MAX_B)
    digest = segment.sha256(segment.expand(data, str(path)))
    present = folder.read(path.name)
    if present is not None:
        if _digest(present) == digest:
            return False
        raise ChainError(
            f"{folder}/{path.name}: already exists, with other content than {path}; two nodes have the same name, or a copy is "
            "damaged"
        )
    temporary = folder.write(path.name, data)
    if _digest(folder.read(temporary) or b"") != digest:
        raise WattlensError(f"{folder}/{temporary}: the copy of {path} differs when it is read back; the storage is damaged")
    folder.rename(temporary, path.name)
    return True


def _digest(data: bytes) -> str:
    try:
        return segment.sha256(segment.expand(data, ""))
    except ChainError:
        return ""


def _protocols(system: Any) -> tuple[str, ...]:
    protocol = system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


class _RemoteFolder:
    """A folder of an object store."""

    def __init__(self, system: Any, root: str) -> None:
        self._system, self._root = system, root

    def __str__(self) -> str:
        return self._root

    def create(self) -> None:
        self._system.makedirs(self._root, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """A file's bytes, at most one more than a segment has; None: it does not exist."""
        path = f"{self._root}/{name}"
        return bytes(self._system.cat_file(path, end=segment.FILE_MAX_B + 1)) if self._system.exists(path) else None

    def write(self, name: str, data: bytes) -> str:
        """Write under a temporary name, and return it."""
        self._system.pipe_file(f"{self._root}/{name}.tmp", data)
        return f"{name}.tmp"

    def rename(self, old: str, new: str) -> None:
        self._system.mv(f"{self._root}/{old}", f"{self._root}/{new}")


class _LocalFolder:
    """A folder in which others may create files: links are never followed, and nothing but a regular file is opened."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def create(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None: it does not exist. Raises ChainError: it is a link, a FIFO or the like."""
        path = self._root / name
        return read_bounded(path, segment.FILE_MAX_B) if os.path.lexists(path) else None

    def write(self, name: str, data: bytes) -> str:
        """Write under a temporary name that nobody can foresee, and return it."""
        for leftover in (*self._root.glob(f".{name}.*.tmp"), self._root / f"{name}.tmp"):  # of a copy that was killed
            with suppress(OSError):
                leftover.unlink()
        temporary = f".{name}.{secrets.token_hex(8)}.tmp"
        handle = os.open(self._root / temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        return temporary

    def rename(self, old: str, new: str) -> None:
        (self._root / old).rename(self._root / new)
