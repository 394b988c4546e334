"""Files of a report's folder: read up to a bound, and hashed in pieces."""

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError, WattlensError

FACTS: Final = "facts.json"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
AROUND: Final = (MANIFEST, SIGNATURE)
"""Files that may be in a report's folder without being part of the report."""
SCRATCH: Final = re.compile(r"\.report-(?:[0-9]+-)?[a-z0-9_]{8}")
"""Names of folders in which a report is made; one that lies about is of a run that was cut off."""
FACTS_MAX_B: Final = 256 << 20
MANIFEST_MAX_B: Final = 64 << 20
SMALL_MAX_B: Final = 64 << 10
_CHUNK_B: Final = 4 << 20
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder",
}  # fmt: skip


def read(path: Path, most_b: int, *, private: bool = False, follow: bool = False) -> bytes:
    """The bytes of an ordinary file.

    Args:
        path: which.
        most_b: refused above.
        private: refused where others than its owner may read it.
        follow: also through a link, as of a file that the user names; a report's folder has none.

    Raises:
        WattlensError: it cannot be read, is no ordinary file, is too large, or is not private.
    """
    handle = _open(path, follow=follow)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if private and not is_private(status.st_mode, status.st_uid, os.geteuid()):
            raise UsageError(f"{path} is readable by other users (mode {status.st_mode & 0o777:o}); run: chmod 600 {path}")
        raw = file.read(most_b + 1)
    if len(raw) > most_b:
        raise WattlensError(f"{path}: is larger than {most_b} bytes")
    return raw


def is_private(mode: int, owner: int, reader: int) -> bool:
    """Whether nobody but its reader may read a file.

    One that belongs to root may be readable by a group, as with PostgreSQL's keys: a Secret of Kubernetes is given to a job
    that is not root by its own group, and a credential of systemd by an ACL, which shows as the group's bits.
    """
    return not mode & (0o037 if owner == 0 and reader != 0 else 0o077)


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size in bytes of an ordinary file.

    Raises:
        WattlensError: it cannot be read or is no ordinary file.
    """
    hasher, size = hashlib.sha256(), 0
    with os.fdopen(_open(path), "rb") as file:
        while chunk := file.read(_CHUNK_B):
            hasher.update(chunk)
            size += len(chunk)
    return hasher.hexdigest(), size


def write(path: Path, data: bytes) -> None:
    """Write a file of a report that nobody reads yet (`placing` moves it when all of them are there).

    Raises:
        WattlensError: it cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise WattlensError(f"{path}: cannot be written: {error.strerror}") from None


def names(folder: Path) -> list[str]:
    """What lies in a folder, sorted.

    Raises:
        UsageError: there is no such folder.
    """
    try:
        return sorted(each.name for each in folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; expected the folder of a report") from None


def irregular(path: Path, *, follow: bool = False) -> str:
    """The kind of what is not a regular file, such as "a symbolic link"; "" for a regular file.

    Raises:
        OSError: it does not exist, or cannot be examined.
    """
    return _KINDS.get(stat.S_IFMT(path.stat(follow_symlinks=follow).st_mode), "")


def _open(path: Path, *, follow: bool = False) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)  # a pipe would wait for ever
    try:
        if not (kind := irregular(path, follow=follow)):  # first: a device may act when it is opened
            handle = os.open(path, flags)
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            os.close(handle)
    except OSError as error:
        raise WattlensError(f"{path}: cannot be read: {error.strerror}") from None
    raise WattlensError(f"{path}: not a regular file{kind and f' but {kind}'}")
