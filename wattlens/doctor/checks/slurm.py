"""Slurm: whether this host is a Slurm node, so that cgroups identify jobs."""

import shutil
from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    if facts.simulate is not None:
        yield DoctorFinding(FindingLevel.ABSENT, "Slurm", "not looked at: this machine's is not the simulated node's")
        return
    cgroups = [
        *(facts.root / "sys/fs/cgroup").glob("system.slice/*slurmstepd.scope"),
        *(facts.root / "sys/fs/cgroup").glob("*/slurm"),
    ]
    daemon = (facts.root / "var/spool/slurmd").exists() or (facts.root / "run/slurm").exists() or bool(shutil.which("slurmd"))
    if cgroups:
        yield DoctorFinding(FindingLevel.OK, "Slurm", "jobs have cgroups of their own, by which they are told")
    elif daemon:
        means = "slurmd is here, no cgroup of a job is: none runs, or jobs are told as units or processes"
        fix = "set ProctrackType=proctrack/cgroup in slurm.conf"
        yield DoctorFinding(FindingLevel.WARN, "Slurm", means, fix)
    else:
        yield DoctorFinding(FindingLevel.ABSENT, "Slurm", "no sign of slurmd")


SPEC = DoctorCheck("Slurm jobs", "holders", _look)
