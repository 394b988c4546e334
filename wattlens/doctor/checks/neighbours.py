"""Other programs that read NVML on this node: two readers cost twice, and some lock what we need."""

from pathlib import Path

from energy_agent.core.text import printable
from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, ok, warn

_KNOWN = {
    "nv-hostengine": "DCGM",
    "dcgm-exporter": "DCGM exporter",
    "nvidia_gpu_expo": "nvidia_gpu_exporter",
    "nvidia_gpu_prom": "nvidia_gpu_exporter",
    "nvitop": "nvitop",
    "nvtop": "nvtop",
    "nvidia-smi": "nvidia-smi",
    "gpustat": "gpustat",
    "nvidia-persiste": "nvidia-persistenced",
    "nv-fabricmanage": "fabric manager",
    "all-smi": "all-smi",
}
_SERVICES = {"nvidia-persistenced", "fabric manager"}
_MAX, _SHOWN = 20_000, 5


def _look(facts: CheckContext) -> Findings:
    counts: dict[str, int] = {}
    other: list[str] = []
    holders = {str(p.pid) for a in facts.probe.devices.values() for p in a.sample.processes or ()}
    for folder in list(facts.procfs.glob("[0-9]*"))[:_MAX]:
        command = _read(folder / "comm").strip()
        if command in _KNOWN:
            counts[_KNOWN[command]] = counts.get(_KNOWN[command], 0) + 1
        elif folder.name in holders:
            continue  # who computes loads NVML as well (NCCL does), and hardly reads it
        elif "/libnvidia-ml.so" in _read(folder / "maps") and not _ours(_read(folder / "cmdline")):
            plain = printable(command)
            other.append(f"{plain} (pid {folder.name})")
    more = [f"and {len(other) - _SHOWN} more"] if len(other) > _SHOWN else []
    readers = sorted(counts.keys() - _SERVICES) + sorted(other)[:_SHOWN] + more
    if counts.keys() & _SERVICES:
        yield ok("services", ", ".join(sorted(counts.keys() & _SERVICES)))
    if readers:
        yield warn(
            "other readers",
            f"also read NVML: {', '.join(readers)}; their calls wait for each other in the driver, and each reader adds "
            "overhead",
            "stop all but one of them, or lengthen their periods; coordinate DCGM profiling metrics and MIG changes",
        )
    else:
        yield ok("other readers", "none visible")


def _ours(command_line: str) -> bool:
    return "wattlens" in command_line or "energy_agent" in command_line


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


SPEC = DoctorCheck("other programs that read NVML", "node", _look)
