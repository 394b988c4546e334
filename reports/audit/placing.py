"""Puts a finished report into its folder, so that a run that was cut off at any instant is seen.

The manifest of the report before goes first and the new one comes last: a folder has the old report whole, or the new one
whole, or no manifest, which says that nothing in it was finished. Only files that a manifest of the folder itself names are
taken away, so what somebody else put there stays.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError, WattlensError
from reports.audit import folder as files
from reports.audit.manifest import read_manifest

OWN_NAMES: Final = (files.FACTS, *files.AROUND)
_EARLIER: Final = "earlier"
"""Where the manifest of the report before is kept while files move: a run after one that was cut off knows its files by it."""
_NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
"""Of file systems that cannot, as some that are mounted over a network."""
_NO_FOLDER: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR})


def prefix() -> str:
    """Of the folder in which this process makes a report; `folder.SCRATCH` is what it matches."""
    return f".report-{os.getpid()}-"


def refuse_folders(folder: Path, names: Sequence[str]) -> None:
    """Check, before anything is made, that the files of a report can take their names.

    Raises:
        UsageError: the folder is a file, or what is no file stands under one of the names.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: not a folder")
    for name in names:
        place = folder / name
        if os.path.lexists(place) and (kind := files.irregular(place)):
            raise UsageError(f"--out {folder}: {name} is not a file but {kind}; move it away, or choose another folder")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder if it is not there and hold it: one run at a time.

    Raises:
        UsageError: it cannot be made, is no folder, or nothing may be written into it.
        WattlensError: another run writes there, or the disk refuses what is written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _failed(folder, error, usage=True) from None
    try:
        _hold(handle, folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"--out {folder}: {os.strerror(errno.EACCES)}")
        yield
    except OSError as error:
        raise _failed(folder, error, usage=error.errno in _NO_FOLDER) from None
    finally:
        os.close(handle)


def put(scratch: Path, folder: Path, names: Sequence[str]) -> None:
    """Move a finished report into its folder; what is left of runs that were cut off is cleared.

    Args:
        scratch: in the folder, with every file of the report, its manifest among them.
        folder: that is held by `writing`.
        names: that a report's files can have; no others are taken away.
    """
    new_names = sorted(path.name for path in scratch.iterdir())
    leftovers = [path for path in folder.iterdir() if files.SCRATCH.fullmatch(path.name) and path != scratch]
    leftovers = [path for path in leftovers if path.is_dir() and not path.is_symlink()]
    folders = [folder, *(place for path in leftovers for place in (path, path / _EARLIER))]
    stale = {name for place in folders for name in named(place)} & set(names) - set(new_names)
    (scratch / _EARLIER).mkdir()
    if (folder / files.MANIFEST).exists():
        (folder / files.MANIFEST).replace(scratch / _EARLIER / files.MANIFEST)
    (folder / files.SIGNATURE).unlink(missing_ok=True)
    for name in sorted(stale - set(files.AROUND)):
        (folder / name).unlink(missing_ok=True)
    for name in new_names:
        (scratch / name).chmod(0o644)
        _to_disk(scratch / name)
    for name in (*(name for name in new_names if name != files.MANIFEST), files.MANIFEST):
        (scratch / name).replace(folder / name)
    _to_disk(folder)
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """A manifest that is there after a power cut finds the files that it names."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def named(place: Path) -> frozenset[str]:
    """What a manifest there names; one that cannot be read names nothing."""
    try:
        return frozenset(read_manifest(place).outputs)
    except WattlensError:
        return frozenset()


def _hold(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WattlensError(
            f"--out {folder}: another run is writing a report there; wait for it, or choose another folder"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _failed(folder: Path, error: OSError, *, usage: bool) -> WattlensError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return (UsageError if usage and not full else WattlensError)(f"--out {folder}: {error.strerror or error}")
