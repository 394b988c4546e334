"""Owners and modes of the files and folders that a process relies on, as ssh checks its own (StrictModes)."""

import grp
import os
import pwd
import stat
from pathlib import Path

from energy_agent.core.errors import UsageError

_MAX_LINKS = 40  # as the kernel's own
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def require_safe(path: Path, key: str, status: os.stat_result | None = None, *, folders_above: bool = True) -> None:
    """Check that nobody but root and the user of this process may change a file or folder, or put another in its place.

    Each folder and link on the way to it is checked as well. A folder above it may have the sticky bit, such as /tmp: what
    is in there can be replaced by its owner alone.

    A volume that was mounted at a path of these may have any owner, and one of root's any mode: only root mounts, and what a
    container is given belongs to somebody of the host.

    Args:
        path: what to check; a link is followed.
        key: what it is, for messages.
        status: of the file that was opened, where one was.
        folders_above: False: check the file or folder alone, as for simulated hardware, which root may run in a user's home.

    Raises:
        UsageError: others may change it; names the path and what to do. Nothing is raised where it does not exist.
    """
    try:
        status = status or path.stat()
    except OSError:
        status = None
    if status is not None:
        _require_own(path, key, status)
    if folders_above:
        _require_safe_way(path, key)


def _require_own(path: Path, key: str, status: os.stat_result, advice: str = "") -> None:
    mounted = os.path.ismount(path)
    what = "folder" if stat.S_ISDIR(status.st_mode) else "file"
    user = os.geteuid()
    if status.st_uid not in (0, user) and not mounted:
        raise UsageError(
            f"{key} {path}: the {what} belongs to uid {status.st_uid}, which could change it; expected root or uid {user}"
            f": {advice}chown {user} {path}"
        )
    if status.st_mode & stat.S_IWOTH and not (mounted and status.st_uid == 0 and what == "folder"):
        if what == "folder" and _is_sticky(status):
            raise UsageError(f"{key} {path}: other users can create files in the folder: choose a folder of its own below it")
        raise UsageError(f"{key} {path}: every user can change the {what}: {advice}chmod o-w {path}")
    if status.st_mode & stat.S_IWGRP and not _has_no_other_member(status.st_gid, user):
        raise UsageError(f"{key} {path}: group {status.st_gid} can change the {what}: {advice}chmod g-w {path}")


def _require_safe_way(path: Path, key: str) -> None:
    """Check the folders from the root to a path, and those that links on the way lead through."""
    user, unmapped = os.geteuid(), _unmapped_uid()
    folder, pending, links = Path("/"), [*reversed(path.absolute().parts[1:])], 0
    while pending and links < _MAX_LINKS:
        try:
            status = folder.stat()
        except OSError:
            return  # it is missing from here on, or hidden from this user, who can then not open it
        sticky = _is_sticky(status)
        if not sticky and (status.st_uid != unmapped or status.st_mode & _WRITABLE):
            _require_own(folder, key, status, "choose another folder, or ")
        name = pending.pop()
        step = folder.parent if name == ".." else folder / name
        try:
            link, owner = step.readlink(), step.lstat().st_uid
        except OSError:
            folder = step  # no link
            continue
        if sticky and status.st_mode & _WRITABLE and owner not in (0, user):
            raise UsageError(f"{key} {step}: the link belongs to uid {owner}, which could change it: choose another folder")
        links += 1
        folder = Path("/") if link.is_absolute() else folder
        pending += reversed(link.parts[1:] if link.is_absolute() else link.parts)


def _is_sticky(status: os.stat_result) -> bool:
    """Whether only its owner can replace what is in a folder, as in /tmp."""
    return bool(status.st_mode & stat.S_ISVTX) and status.st_uid in (0, os.geteuid())


def _unmapped_uid() -> int | None:
    """The uid that stands for all users outside this process's user namespace, the host's root among them; None without one.

    None as well where a user of the namespace has that uid, as `nobody` of most containers.
    """
    try:
        uid = int(Path("/proc/sys/fs/overflowuid").read_text())
        ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        return None if any(int(first) <= uid < int(first) + int(count) for first, _, count in ranges) else uid
    except (OSError, ValueError):
        return None


def make_folder(path: Path, key: str, mode: int, *, folders_above: bool = True) -> None:
    """Create a folder and those above it where they are missing.

    Raises:
        UsageError: it cannot be created, or others may change the folder that it would be created in.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent, key, mode, folders_above=folders_above)
    if not _is_sticky(path.parent.stat()):
        require_safe(path.parent, key, folders_above=folders_above)
    elif folders_above:
        _require_safe_way(path.parent, key)
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
