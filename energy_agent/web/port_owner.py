"""Who listens on a port of this machine, as far as /proc tells this user: for the message that the port is taken."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"  # TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp has it


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """`NAME (pid N)` of the process that listens on TCP `port`; '' where it is hidden, or nobody does."""
    wanted = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not wanted:
        return ""
    for folder in _processes(proc):
        with suppress(OSError), os.scandir(folder / "fd") as entries:  # it has ended, or is another user's
            for entry in entries:
                if _link(entry.path) in wanted:
                    name = (folder / "comm").read_text(errors="replace").strip()
                    return f"{''.join(c if c.isprintable() else '?' for c in name)} (pid {folder.name})"
    return ""


def _listening(port: int, proc: Path) -> Iterator[str]:
    """Inodes of the sockets that listen on the port; the columns are those of proc(5)."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError), (proc / "net" / table).open() as lines:
            for line in lines:
                fields = line.split()
                if len(fields) > 9 and fields[3] == _LISTENS and fields[1].rpartition(":")[2] == f"{port:04X}":
                    yield fields[9]


def _processes(proc: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (path for path in proc.iterdir() if path.name.isdecimal())


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - thousands of them
    except OSError:
        return ""
