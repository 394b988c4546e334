"""/proc and the cgroup hierarchy: where a process's workload is read from."""

import os
from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    procfs = facts.procfs
    try:
        seen = sum(name.isdigit() for name in os.listdir(procfs))  # noqa: PTH208 - names alone, without a Path each
    except OSError as error:
        fix = "set node.procfs to the mount point of the host's /proc"
        yield DoctorFinding(FindingLevel.FAIL, "/proc", f"cannot read {procfs}: {error.strerror}", fix, stops=True)
        return
    yield DoctorFinding(FindingLevel.OK, "/proc", f"{procfs}, {seen} visible processes")
    if facts.simulate is not None:
        yield DoctorFinding(FindingLevel.OK, "cgroups", "cgroups of the simulated workloads")
    elif (facts.root / "sys/fs/cgroup/cgroup.controllers").exists():
        yield DoctorFinding(FindingLevel.OK, "cgroups", "version 2")
    elif (facts.root / "sys/fs/cgroup").is_dir() and any((facts.root / "sys/fs/cgroup").iterdir()):
        yield DoctorFinding(
            FindingLevel.OK, "cgroups", "version 1, or both versions: the agent uses the most specific path of each process"
        )
    else:
        means = "no hierarchy is mounted: workloads are identified by /proc/PID/cgroup"
        yield DoctorFinding(FindingLevel.ABSENT, "cgroups", means)


SPEC = DoctorCheck("/proc and cgroups", "holders", _look)
