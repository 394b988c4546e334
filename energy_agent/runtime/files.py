"""Owners and modes of the files and folders that a process relies on, as ssh checks its own (StrictModes)."""

import grp
import os
import pwd
import stat
from pathlib import Path

from energy_agent.core.errors import UsageError


def require_safe(path: Path, key: str, status: os.stat_result | None = None) -> None:
    """Check that nobody but root and the user of this process may change a file or folder.

    A volume that was mounted at this very path may have any owner, and one of root's any mode: only root mounts, and what a
    container is given belongs to somebody of the host.

    Args:
        path: what to check; a link is followed.
        key: what it is, for messages.
        status: of the file that was opened, where one was.

    Raises:
        UsageError: others may change it; names the path and what to do. Nothing is raised where it does not exist.
    """
    try:
        status = status or path.stat()
    except OSError:
        return
    mounted = os.path.ismount(path)
    what = "folder" if stat.S_ISDIR(status.st_mode) else "file"
    user = os.geteuid()
    if status.st_uid not in (0, user) and not mounted:
        raise UsageError(
            f"{key} {path}: the {what} belongs to uid {status.st_uid}, who could change it; "
            f"expected root or uid {user}: chown {user} {path}"
        )
    if status.st_mode & stat.S_IWOTH and not (mounted and status.st_uid == 0 and what == "folder"):
        raise UsageError(f"{key} {path}: every user may change the {what}: chmod o-w {path}")
    if status.st_mode & stat.S_IWGRP and not _has_no_other_member(status.st_gid, user):
        raise UsageError(f"{key} {path}: group {status.st_gid} may change the {what}: chmod g-w {path}")


def require_safe_path(path: Path, key: str) -> None:
    """Check a file or folder as `require_safe` does, and each folder above it, whose owner could put another in its place.

    A folder with the sticky bit may be above it, such as /tmp: what is in there can be replaced by its owner alone.

    Raises:
        UsageError: as `require_safe`.
    """
    require_safe(path, key)
    for folder in path.resolve().parents:
        try:
            status = folder.stat()
        except OSError:
            continue
        if not (status.st_mode & stat.S_ISVTX and status.st_uid in (0, os.geteuid())):
            require_safe(folder, key, status)


def make_folder(path: Path, key: str, mode: int) -> None:
    """Create a folder and those above it where they are missing.

    Raises:
        UsageError: it cannot be created, or others may change the folder that it would be created in.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent, key, mode)
    require_safe(path.parent, key)
    try:
        path.mkdir(mode)
    except FileExistsError:
        if path.is_dir():
            return  # another process was faster
        raise UsageError(f"{key}: {path} is not a folder") from None
    except OSError as error:
        raise UsageError(f"{key}: cannot create the folder {path}: {error.strerror}") from None
    path.chmod(mode)  # whatever the umask is


def hide_from_others(folder: Path) -> None:
    """Take all rights on a folder from users that are neither its owner nor in its group, where it is ours."""
    try:
        status = folder.stat()
        if status.st_uid == os.geteuid() and status.st_mode & stat.S_IRWXO:
            folder.chmod(stat.S_IMODE(status.st_mode) & ~stat.S_IRWXO)
    except OSError:
        return  # a file system without modes


def _has_no_other_member(group: int, user: int) -> bool:
    """Whether a group is root's, or ours and without another member, as a user's private group and the fsGroup of a pod are."""
    if group == 0:
        return True
    if group not in (os.getegid(), *os.getgroups()):
        return False
    try:
        names = set(grp.getgrgid(group).gr_mem)
    except KeyError:
        names = set()
    ours = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid in (0, user)}
    return names <= ours and all(entry.pw_uid in (0, user) for entry in pwd.getpwall() if entry.pw_gid == group)
