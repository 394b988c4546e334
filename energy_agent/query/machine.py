"""CPUs and memory that this process may use: those of its machine, its affinity and its cgroups, of version 2 and 1."""

import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that the process may run on, at most its CPU quota, rounded up."""
    quotas = (*_limits(root, "cpu.max"), *_limits(root, "cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return min([len(os.sched_getaffinity(0)), *(-(-quota // period) for quota, period in quotas)])


def usable_memory_b(root: Path = Path("/")) -> int:
    """Bytes of memory of the machine, at most the limit of a cgroup."""
    limits = (*_limits(root, "memory.max"), *_limits(root, "memory.limit_in_bytes"))
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *(limit for (limit,) in limits)])


def _limits(root: Path, *names: str) -> Iterator[list[int]]:
    """Numbers in these files of the process's cgroups and of those above them, whose limits hold as well.

    In a container that sees its own cgroup as the root, a path of the host does not exist, and the root has the limits.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        top, parts = root / "sys/fs/cgroup" / controllers, Path(path).parts[1:]
        for depth in range(len(parts) + 1):
            words = " ".join(_read(top.joinpath(*parts[:depth], name)) for name in names).split()
            if words and all(map(str.isdecimal, words)):
                yield list(map(int, words))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
