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
        fix = "set node.procfs to where the host's /proc is mounted"
        yield DoctorFinding(FindingLevel.FAIL, "/proc", f"{procfs} cannot be read: {error.strerror}", fix, stops=True)
        return
    yield DoctorFinding(FindingLevel.OK, "/proc", f"{procfs}, processes seen: {seen}")
    if facts.simulate is not None:
        yield DoctorFinding(FindingLevel.OK, "cgroups", "those of the simulated workloads")
    elif (facts.root / "sys/fs/cgroup/cgroup.controllers").exists():
        yield DoctorFinding(FindingLevel.OK, "cgroups", "version 2")
    elif (facts.root / "sys/fs/cgroup").is_dir() and any((facts.root / "sys/fs/cgroup").iterdir()):
        yield DoctorFinding(FindingLevel.OK, "cgroups", "version 1, or both: the most telling path of a process is taken")
    else:
        means = "no hierarchy is mounted here: workloads are still told by /proc/PID/cgroup"
        yield DoctorFinding(FindingLevel.ABSENT, "cgroups", means)


SPEC = DoctorCheck("/proc and cgroups", "holders", _look)
