"""NVML and the driver: the library found, its version against the kernel module's, the driver loaded."""

import re
from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext, NvmlAnswers
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel

_FATAL = {
    "LIBRARY_NOT_FOUND": (
        "libnvidia-ml.so.1 is not found: no NVIDIA driver is installed, or the container does not see it",
        "install the driver; in a container use the NVIDIA runtime with NVIDIA_DRIVER_CAPABILITIES=utility; "
        "without a GPU try --simulate",
    ),
    "DRIVER_NOT_LOADED": (
        "the library is there, the kernel module is not loaded (or /dev/nvidiactl is not in the container)",
        "modprobe nvidia, and see dmesg; in a container use the NVIDIA runtime",
    ),
    "LIB_RM_VERSION_MISMATCH": (
        "library and loaded kernel module are of different versions: the driver was updated while the module was in use",
        "stop what uses the GPUs and reload the nvidia modules, or reboot; restart containers that hold the old library",
    ),
    "NO_PERMISSION": ("this user may not open the driver", "run as root, or open /dev/nvidiactl and /dev/nvidia* to this user"),
    "HANG": (
        "the driver does not answer; the agent would wait for it in its child process",
        "see dmesg for Xid and NVRM lines; a reboot is usually needed",
    ),
    "DIED": (
        "NVML ended the process that asked it",
        "see dmesg; reinstall the driver, so that its kernel module and libraries have the same version",
    ),
}


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    probe = facts.probe
    if probe.fatal is not None:
        means, fix = _FATAL.get(probe.fatal.reason, ("NVML does not answer as a whole", "see dmesg and nvidia-smi"))
        means = f"{means} ({probe.fatal.call}: {probe.fatal.reason})"
        yield DoctorFinding(FindingLevel.FAIL, "NVML", means, fix, stops=True)
    else:
        yield DoctorFinding(
            FindingLevel.OK, "NVML", f"{probe.nvml or 'version not told'}, {probe.library or 'library path not known'}"
        )
    if probe.driver:
        yield _version(facts, probe)
    if not probe.count and probe.fatal is None:
        fix = "lspci -d 10de: shows whether the boards are there; in a container set NVIDIA_VISIBLE_DEVICES=all"
        yield DoctorFinding(FindingLevel.FAIL, "GPUs", "the driver answers and knows no GPU", fix, stops=True)


def _version(facts: CheckContext, probe: NvmlAnswers) -> DoctorFinding:
    if facts.simulate is not None:
        return DoctorFinding(FindingLevel.OK, "driver", f"{probe.driver}, simulated in {facts.simulate}")
    module = ""
    for path in (facts.root / "sys/module/nvidia/version", facts.root / "proc/driver/nvidia/version"):
        try:
            match = re.search(r"\b\d+\.\d+(\.\d+)?\b", path.read_text(errors="replace"))
        except OSError:
            continue
        if match:
            module = match[0]
            break
    if not module:
        return DoctorFinding(
            FindingLevel.OK, "driver", f"{probe.driver} by NVML; the kernel module's version is not visible from here"
        )
    if module != probe.driver:
        means, fix = _FATAL["LIB_RM_VERSION_MISMATCH"]
        return DoctorFinding(
            FindingLevel.WARN, "driver", f"NVML says {probe.driver}, the kernel module is {module}: {means}", fix
        )
    return DoctorFinding(FindingLevel.OK, "driver", f"{probe.driver}, library and kernel module agree")


SPEC = DoctorCheck("NVML's library, the driver and their versions", "driver", _look)
