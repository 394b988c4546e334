"""Slurm: whether this host is a Slurm node, so that cgroups identify jobs."""

import shutil

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, absent, ok, warn


def _look(facts: CheckContext) -> Findings:
    if facts.simulate is not None:
        yield absent("Slurm", "not checked on a simulated node")
        return
    cgroups = [
        *(facts.root / "sys/fs/cgroup").glob("system.slice/*slurmstepd.scope"),
        *(facts.root / "sys/fs/cgroup").glob("*/slurm"),
    ]
    daemon = (facts.root / "var/spool/slurmd").exists() or (facts.root / "run/slurm").exists() or bool(shutil.which("slurmd"))
    if cgroups:
        yield ok("Slurm", "jobs have their own cgroups, which identify them")
    elif daemon:
        yield warn(
            "Slurm",
            "slurmd is installed, but no job has a cgroup: no job runs, or jobs are identified only as units or processes",
            "set ProctrackType=proctrack/cgroup in slurm.conf",
        )
    else:
        yield absent("Slurm", "slurmd not found")


SPEC = DoctorCheck("Slurm jobs", "holders", _look)
