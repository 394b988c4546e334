"""Whether the processes that NVML names can be seen: their pids count in the host's namespace."""

import os
from pathlib import Path

from wattlens.doctor.finding import CheckContext, DoctorCheck, DoctorFinding, Findings, absent, gpus, ok, warn

_INITIAL = "pid:[4026531836]"  # PROC_PID_INIT_INO of include/linux/proc_ns.h
_FIX = "set hostPID: true in Kubernetes, --pid=host in Docker; on the host mount /proc without hidepid, or run as root"


def _look(facts: CheckContext) -> Findings:
    processes_by_gpu = {i: a.sample.processes for i, a in sorted(facts.probe.devices.items()) if a.sample.processes}
    zero = [i for i, processes in processes_by_gpu.items() if any(p.pid <= 0 for p in processes)]
    hidden = [
        i
        for i, processes in processes_by_gpu.items()
        if any(p.pid > 0 and not _visible(facts.procfs, p.pid) for p in processes)
    ]
    if zero:
        yield warn(
            "holders",
            f"NVML reports pid 0 for processes on {gpus(zero)}, which run in another pid namespace: their energy is "
            "unattributed",
            _FIX,
            tuple(zero),
        )
    if hidden:
        yield warn(
            "holders",
            f"processes on {gpus(hidden)} are not in {facts.procfs}: their energy is unattributed (unknown_holder)",
            _FIX,
            tuple(hidden),
        )
    if processes_by_gpu and not zero and not hidden:
        count = len({p.pid for processes in processes_by_gpu.values() for p in processes})
        yield ok("holders", f"{count} processes use GPUs, all visible in {facts.procfs}", devices=tuple(processes_by_gpu))
    if not processes_by_gpu:
        yield ok("holders", "no process uses a GPU now, so this could not be tested")
    if facts.simulate is None:
        yield _namespace()


def _visible(procfs: Path, pid: int) -> bool:
    return os.access(procfs / str(pid) / "stat", os.R_OK) and os.access(procfs / str(pid) / "cgroup", os.R_OK)


def _namespace() -> DoctorFinding:
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError as error:
        return absent("pid namespace", f"unknown: {error.strerror}")
    if namespace == _INITIAL:
        return ok("pid namespace", "the host's")
    return warn(
        "pid namespace", "not the host's: NVML reports pid 0 for processes outside it, and their energy is unattributed", _FIX
    )


SPEC = DoctorCheck("visibility of processes on the GPUs", "holders", _look)
