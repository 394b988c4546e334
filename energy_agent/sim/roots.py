"""The injected /proc of a simulated node: its workloads as they would look on a real one, with the scenario's cgroups.

Files are copies of the real /proc, start times included, so that a reader can distinguish processes with the same pid.
"""

import contextlib
import hashlib
import os
import shutil
import time
from pathlib import Path

_PROC = Path("/proc")
_FILES = ("stat", "comm", "cmdline", "status")
_START_TICKS = 19  # field 22 of stat, counted after the command's closing parenthesis


def cgroup_path(name: str, cgroup: str, seed: int) -> str:
    """The cgroup of workload `name`: `cgroup` itself when it is a path, else a path of that form with ids from the seed."""
    if cgroup.startswith("/"):
        return cgroup
    if cgroup == "systemd":
        return f"/system.slice/{name}.service"
    container = hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
    if cgroup == "docker":
        return f"/system.slice/docker-{container}.scope"
    pod = hashlib.sha256(f"{seed}/{name}/pod".encode()).hexdigest()
    uid = "_".join((pod[:8], pod[8:12], pod[12:16], pod[16:20], pod[20:32]))
    return f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{container}.scope"


def add_process(root: Path, pid: int, cgroup: str) -> None:
    """Show the process in `root`/proc; one that has just ended is left out."""
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name in _FILES:
            (folder / name).write_bytes(_read(pid, name))
        (folder / "cgroup").write_text(f"0::{cgroup}\n")
    except OSError:
        remove_process(root, pid)
        return
    if _ticks(folder / "stat") is None:  # it has ended, and nobody has waited for it
        remove_process(root, pid)


def _read(pid: int, name: str) -> bytes:
    """A file of the real process; its command line is empty for an instant while the kernel still loads the program."""
    for _ in range(100):
        data = (_PROC / str(pid) / name).read_bytes()
        if data:
            return data
        time.sleep(0.002)
    return b""


def remove_process(root: Path, pid: int) -> None:
    """Take the process out of `root`/proc."""
    shutil.rmtree(root / "proc" / str(pid), ignore_errors=True)


def forget_ended(root: Path) -> None:
    """Remove ended processes from `root`/proc, as a kernel would, regardless of who added them and how they ended."""
    for folder in (root / "proc").iterdir():
        if (
            folder.name.isdecimal()
            and (ticks := _ticks(folder / "stat")) is not None
            and start_ticks(int(folder.name)) != ticks
        ):
            remove_process(root, int(folder.name))


def start_ticks(pid: int) -> int | None:
    """When the real process started, in clock ticks since boot; None if it does not exist or is a zombie."""
    return _ticks(_PROC / str(pid) / "stat")


def _ticks(stat: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = stat.read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else int(fields[_START_TICKS])
    return None


def signal_process(pid: int, ticks: int | None, number: int) -> bool:
    """Send a signal, only to the very process that started at `ticks`; False when it is gone."""
    if ticks is None or pid <= 1 or start_ticks(pid) != ticks:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
