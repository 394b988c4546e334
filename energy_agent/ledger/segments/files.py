"""File operations between which a crash can occur, as a port, and what reads and locks the ledger's files."""

import fcntl
import os
import stat
from pathlib import Path
from typing import Protocol

from energy_agent.core.errors import ChainError, JournalError, UsageError


class SegmentFiles(Protocol):
    """What writing a segment needs of a file system; every method may raise OSError."""

    def write(self, path: Path, data: bytes) -> None:
        """Write a whole file and flush it to the disk."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Rename within a folder, at once."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Flush a folder's names to the disk."""
        ...


class RealFiles:
    """The operating system's files."""

    def write(self, path: Path, data: bytes) -> None:
        """Write and fsync; never through a symbolic link."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """os.rename."""
        source.rename(target)

    def sync_folder(self, folder: Path) -> None:
        """Fsync of the folder."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_bounded(path: Path, limit_b: int) -> bytes:
    """A regular file's bytes.

    Raises:
        ChainError: not a regular file, larger than `limit_b`, or not readable; the line names it.
    """
    data = read_start(path, limit_b + 1)
    if len(data) > limit_b:
        raise ChainError(f"{path}: is larger than {limit_b} bytes, the maximum of a segment")
    return data


def read_start(path: Path, size_b: int) -> bytes:
    """The first `size_b` bytes of a regular file, or all where it is shorter.

    Raises:
        ChainError: not a regular file, or not readable; the line names it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ChainError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ChainError(f"{path}: is not a regular file")
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(size_b)
    except OSError as error:
        raise ChainError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)


def hold(path: Path) -> int:
    """Hold a journal against a second writer until the returned handle is closed; its folder is made if missing.

    Raises:
        UsageError: the folder cannot be written.
        JournalError: another process holds it.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / f"{path.name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}); give the agent a writable state folder") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise JournalError(f"{path}: another agent has this journal open; stop it or use another state folder") from None
    return handle
