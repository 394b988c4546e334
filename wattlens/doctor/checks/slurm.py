"""Slurm: whether this host is a Slurm node, so that cgroups identify jobs."""

import shutil
from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    if facts.simulate is not None:
        yield DoctorFinding(FindingLevel.ABSENT, "Slurm", "not checked on a simulated node")
        return
    cgroups = [
        *(facts.root / "sys/fs/cgroup").glob("system.slice/*slurmstepd.scope"),
        *(facts.root / "sys/fs/cgroup").glob("*/slurm"),
    ]
    daemon = (facts.root / "var/spool/slurmd").exists() or (facts.root / "run/slurm").exists() or bool(shutil.which("slurmd"))
    if cgroups:
        yield DoctorFinding(FindingLevel.OK, "Slurm", "jobs have their own cgroups, which identify them")
    elif daemon:
        means = "slurmd is installed, but no job has a cgroup: no job runs, or jobs are identified only as units or processes"
        fix = "set ProctrackType=proctrack/cgroup in slurm.conf"
        yield DoctorFinding(FindingLevel.WARN, "Slurm", means, fix)
    else:
        yield DoctorFinding(FindingLevel.ABSENT, "Slurm", "slurmd not found")


SPEC = DoctorCheck("Slurm jobs", "holders", _look)
