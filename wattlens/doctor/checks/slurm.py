"""Slurm: whether this is one of its nodes, so that jobs can be told by their cgroup."""

import shutil
from collections.abc import Iterator

from wattlens.doctor.facts import Facts
from wattlens.doctor.finding import Check, Finding, Status


def _look(facts: Facts) -> Iterator[Finding]:
    if facts.simulate is not None:
        yield Finding(Status.ABSENT, "Slurm", "not looked at: this machine's is not the simulated node's")
        return
    cgroups = [
        *(facts.root / "sys/fs/cgroup").glob("system.slice/*slurmstepd.scope"),
        *(facts.root / "sys/fs/cgroup").glob("*/slurm"),
    ]
    daemon = (facts.root / "var/spool/slurmd").exists() or (facts.root / "run/slurm").exists() or bool(shutil.which("slurmd"))
    if cgroups:
        yield Finding(Status.OK, "Slurm", "jobs have cgroups of their own, by which they are told")
    elif daemon:
        means = "slurmd is here, no cgroup of a job is: none runs, or jobs are told as units or processes"
        fix = "set ProctrackType=proctrack/cgroup in slurm.conf"
        yield Finding(Status.WARN, "Slurm", means, fix)
    else:
        yield Finding(Status.ABSENT, "Slurm", "no sign of slurmd")


SPEC = Check("Slurm jobs", "holders", _look)
