"""/proc and the cgroup hierarchy: where a process's workload is read from."""

import os

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, absent, fail, ok


def _look(facts: CheckContext) -> Findings:
    procfs = facts.procfs
    try:
        process_count = sum(name.isdigit() for name in os.listdir(procfs))  # noqa: PTH208 - names alone, without a Path each
    except OSError as error:
        yield fail(
            "/proc",
            f"cannot read {procfs}: {error.strerror}",
            "set node.procfs to the mount point of the host's /proc",
            stops=True,
        )
        return
    yield ok("/proc", f"{procfs}, {process_count} visible processes")
    if facts.simulate is not None:
        yield ok("cgroups", "cgroups of the simulated workloads")
    elif (facts.root / "sys/fs/cgroup/cgroup.controllers").exists():
        yield ok("cgroups", "version 2")
    elif (facts.root / "sys/fs/cgroup").is_dir() and any((facts.root / "sys/fs/cgroup").iterdir()):
        yield ok("cgroups", "version 1, or both versions: the agent uses the most specific path of each process")
    else:
        yield absent("cgroups", "no hierarchy is mounted: workloads are identified by /proc/PID/cgroup")


SPEC = DoctorCheck("/proc and cgroups", "holders", _look)
