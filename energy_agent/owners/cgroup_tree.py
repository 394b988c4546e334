"""Owners of the kernel's cgroup directories: how much of a process's cgroup path was named by root.

Who may write to a cgroup directory names the directories below it: a user's own manager, an LXC container, a unit with
`Delegate=` and `User=`. So a path is cut below the first directory that somebody other than root may change. That takes the
tree that the paths of /proc/PID/cgroup speak of. A container with a cgroup namespace of its own sees its own branch alone, and
in a user namespace root's id is another: then nothing is checked, and `reason` says why.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from energy_agent.owners.cgroup import TrustedPath

WHOLE_RANGE = "0 0 4294967295"
"""Of the user namespace of the host in /proc/PID/uid_map, without its alignment."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


class CgroupTree:
    """The cgroup mounts of this process.

    Attributes:
        reason: why owners cannot be checked; "" where they can.
    """

    def __init__(self, mounts: Mapping[str, str], own_paths: Mapping[str, str], reason: str = "") -> None:
        """`mounts`: folder of each hierarchy by controller ("" for v2); `own_paths`: path of this process in each of them."""
        self._mounts, self._own_paths, self.reason = dict(mounts), dict(own_paths), reason
        self._checks = not reason

    @classmethod
    def of_process(cls, proc: Path = Path("/proc/self")) -> "CgroupTree":
        """The hierarchies as the process of that folder of /proc sees them."""
        try:
            texts = [_read(proc / name) for name in ("mountinfo", "uid_map", "cgroup")]
        except OSError as error:
            return cls({}, {}, f"{error.filename}: {error.strerror}")
        mountinfo, id_range, cgroup_text = texts
        own_paths = {
            controller: path
            for _, controllers, path in (line.split(":", 2) for line in cgroup_text.split("\n") if line.count(":") >= 2)
            for controller in controllers.split(",")
        }
        mounts = _mounts(mountinfo)
        if " ".join(id_range.split()) != WHOLE_RANGE:
            reason = "the agent runs in a user namespace, where user ids differ from those of the host"
        elif _seen_from_below(proc.parent / "1/cgroup"):
            reason = "the agent runs in its own cgroup namespace (Docker: start it with --cgroupns=host)"
        elif not mounts:
            reason = "no root-owned cgroup hierarchy is mounted from its root"
        else:
            reason = ""
        return cls(mounts, own_paths, reason)

    def trust(self, controllers: str, path: str) -> TrustedPath:
        """The part of a path that root named; `controllers` as in /proc/PID/cgroup.

        One system call per directory: meant for the first time that a process is seen.
        """
        own_path = self._own_paths.get(controllers.split(",")[0], "/")
        unchecked = TrustedPath(path, below_ours=_below_common(path, own_path))
        folder = next((self._mounts[c] for c in controllers.split(",") if c in self._mounts), None)
        if not self._checks or folder is None or not path.startswith("/") or path.startswith("/.."):
            return unchecked
        names = [name for name in path.split("/") if name]
        for count, name in enumerate(names, 1):
            folder = f"{folder}/{name}"
            try:
                status = os.lstat(folder)
            except OSError:  # the process has moved on, or the path is of a simulated node
                return unchecked
            if _sole_owner(status) != 0:
                return TrustedPath("/" + "/".join(names[:count]), checked=True, owner=_sole_owner(status))
        return TrustedPath(path, checked=True, owner=0)


def _read(path: Path) -> str:
    """The text of a file of /proc with every line end as it is: in text mode a carriage return in a name would end a line."""
    return path.read_bytes().decode("utf-8", "replace")


def _seen_from_below(cgroup_of_init: Path) -> bool:
    try:
        return any(":/.." in line for line in _read(cgroup_of_init).split("\n"))
    except OSError:
        return False


def _sole_owner(status: os.stat_result) -> int | None:
    """The uid that alone may change a directory, besides root; None where a group or every user may."""
    by_group = status.st_mode & stat.S_IWGRP and status.st_gid != 0
    return None if by_group or status.st_mode & stat.S_IWOTH else status.st_uid


def _is_roots(folder: str) -> bool:
    try:
        return _sole_owner(os.lstat(folder)) == 0
    except OSError:
        return False


def _below_common(path: str, own_path: str) -> str:
    """The part of a path below its last common directory with `own_path`; "" where they have none."""
    names, ours = path.strip("/").split("/"), own_path.strip("/").split("/")
    common = next((n for n, (a, b) in enumerate(zip(names, ours, strict=False)) if a != b), min(len(names), len(ours)))
    return "/" + "/".join(names[common:]) if 0 < common < len(names) else ""


def _mounts(mountinfo: str) -> dict[str, str]:
    """Folders by controller; of a hierarchy that is mounted in part, or whose root lies above, nothing can be looked up."""
    mounts: dict[str, str] = {}
    for line in mountinfo.split("\n"):  # the kernel escapes space, tab, newline and backslash alone
        mount_text, _, right = line.partition(" - ")
        fields, kind = mount_text.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        folder = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        controllers = [""] if kind[0] == "cgroup2" else kind[2].split(",")
        for controller in controllers:
            if fields[3] == "/" and _is_roots(folder):
                mounts.setdefault(controller, folder)
    return mounts
