"""Whether the processes that NVML names can be seen: their pids count in the host's namespace."""

import os
from collections.abc import Iterator
from pathlib import Path

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel, gpus

_INITIAL = "pid:[4026531836]"  # PROC_PID_INIT_INO of include/linux/proc_ns.h
_FIX = "set hostPID: true in Kubernetes, --pid=host in Docker; on the host mount /proc without hidepid, or run as root"


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    held = {i: a.sample.processes for i, a in sorted(facts.probe.devices.items()) if a.sample.processes}
    zero = [i for i, processes in held.items() if any(p.pid <= 0 for p in processes)]
    hidden = [i for i, processes in held.items() if any(p.pid > 0 and not _visible(facts.procfs, p.pid) for p in processes)]
    if zero:
        means = (
            f"NVML reports pid 0 for processes on {gpus(zero)}, which run in another pid namespace: their energy is "
            "unattributed"
        )
        yield DoctorFinding(FindingLevel.WARN, "holders", means, _FIX, tuple(zero))
    if hidden:
        means = f"processes on {gpus(hidden)} are not in {facts.procfs}: their energy is unattributed (unknown_holder)"
        yield DoctorFinding(FindingLevel.WARN, "holders", means, _FIX, tuple(hidden))
    if held and not zero and not hidden:
        count = len({p.pid for processes in held.values() for p in processes})
        means = f"{count} processes use GPUs, all visible in {facts.procfs}"
        yield DoctorFinding(FindingLevel.OK, "holders", means, devices=tuple(held))
    if not held:
        yield DoctorFinding(FindingLevel.OK, "holders", "no process uses a GPU now, so this could not be tested")
    if facts.simulate is None:
        yield _namespace()


def _visible(procfs: Path, pid: int) -> bool:
    return os.access(procfs / str(pid) / "stat", os.R_OK) and os.access(procfs / str(pid) / "cgroup", os.R_OK)


def _namespace() -> DoctorFinding:
    try:
        own = str(Path("/proc/self/ns/pid").readlink())
    except OSError as error:
        return DoctorFinding(FindingLevel.ABSENT, "pid namespace", f"unknown: {error.strerror}")
    if own == _INITIAL:
        return DoctorFinding(FindingLevel.OK, "pid namespace", "the host's")
    means = "not the host's: NVML reports pid 0 for processes outside it, and their energy is unattributed"
    return DoctorFinding(FindingLevel.WARN, "pid namespace", means, _FIX)


SPEC = DoctorCheck("visibility of processes on the GPUs", "holders", _look)
