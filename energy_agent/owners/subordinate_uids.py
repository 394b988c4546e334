"""Owners of subordinate uids: the ranges of /etc/subuid, in which a user may run processes under 65,536 uids.

/proc/PID/loginuid is not usable: a process without one, such as a batch job, may set it to any user's.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.units import NS_PER_S

_MAX_B = 256 * 1024  # of each file; what is beyond has no owner
_PERIOD_NS = 60 * NS_PER_S


@dataclass(slots=True)
class SubordinateUids:
    """The ranges of the machine whose `/proc` is `procfs`, read again at most once per minute."""

    procfs: Path
    _ranges: tuple[tuple[int, int, int | None], ...] = ()
    _read_ns: int | None = None

    def owner_of(self, uid: int, now_ns: int) -> tuple[int | None, bool]:
        """The owner of a uid (None if several or unknown users have it), and whether the uid is subordinate."""
        if self._read_ns is None or abs(now_ns - self._read_ns) > _PERIOD_NS:
            self._ranges, self._read_ns = parse_ranges(self._file("subuid"), self._file("passwd")), now_ns
        owners = {owner for start, end, owner in self._ranges if start <= uid < end}
        return (owners.pop() if len(owners) == 1 else None), any(start <= uid < end for start, end, _ in self._ranges)

    def _file(self, name: str) -> str:
        folders = [self.procfs / "1/root/etc"] + ([Path("/etc")] if self.procfs == Path("/proc") else [])
        return next((text for folder in folders if (text := _read(folder / name)) is not None), "")


def parse_ranges(subuid: str, passwd: str) -> tuple[tuple[int, int, int | None], ...]:
    """(first uid, first uid after it, owner) of each well-formed range; None is an owner that `passwd` does not have."""
    users = {
        fields[0]: int(fields[2]) for line in passwd.split("\n") if len(fields := line.split(":")) > 3 and _is_uid(fields[2])
    }
    ranges = []
    for owner, _, limits in (line.partition(":") for line in subuid.split("\n")):
        start, _, count = limits.strip().partition(":")
        if _is_uid(start) and _is_uid(count):
            uid = int(owner) if owner not in users and _is_uid(owner) else users.get(owner)
            ranges.append((int(start), int(start) + int(count), uid))
    return tuple(ranges)


def _is_uid(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def _read(path: Path) -> str | None:
    """The file's whole lines among its first bytes; None where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = os.read(fd, _MAX_B)
    except OSError:
        return None
    finally:
        os.close(fd)
    return (data if len(data) < _MAX_B else data[: data.rfind(b"\n") + 1]).decode(errors="replace")
