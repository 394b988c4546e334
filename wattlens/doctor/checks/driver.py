"""NVML and the driver: the library found, its version against the kernel module's, the driver loaded."""

import re

from wattlens.doctor.finding import CheckContext, DoctorCheck, DoctorFinding, Findings, NvmlAnswers, fail, ok, warn

_FATAL = {
    "LIBRARY_NOT_FOUND": (
        "libnvidia-ml.so.1 not found: no NVIDIA driver is installed, or the container has no access to it",
        "install the driver; in a container use the NVIDIA runtime with NVIDIA_DRIVER_CAPABILITIES=utility; "
        "without a GPU try --simulate",
    ),
    "DRIVER_NOT_LOADED": (
        "the library is installed, but the kernel module is not loaded (or /dev/nvidiactl is not in the container)",
        "modprobe nvidia, and see dmesg; in a container use the NVIDIA runtime",
    ),
    "LIB_RM_VERSION_MISMATCH": (
        "library and loaded kernel module have different versions: the driver was updated while the module was in use",
        "stop the GPUs' users and reload the nvidia modules, or reboot; restart containers that still use the old library",
    ),
    "NO_PERMISSION": (
        "this user has no access to the driver",
        "run as root, or give this user access to /dev/nvidiactl and /dev/nvidia*",
    ),
    "HANG": (
        "the driver does not respond; the agent would wait for it in its child process",
        "see dmesg for Xid and NVRM lines; a reboot is usually needed",
    ),
    "DIED": (
        "an NVML call crashed the process",
        "see dmesg; reinstall the driver, so that its kernel module and libraries have the same version",
    ),
}


def _look(facts: CheckContext) -> Findings:
    probe = facts.probe
    if probe.fatal is not None:
        means, fix = _FATAL.get(probe.fatal.reason, ("NVML does not work", "see dmesg and nvidia-smi"))
        yield fail("NVML", f"{means} ({probe.fatal.call}: {probe.fatal.reason})", fix, stops=True)
    else:
        yield ok("NVML", f"{probe.nvml or 'version unknown'}, {probe.library or 'library path unknown'}")
    if probe.driver:
        yield _version(facts, probe)
    if not probe.count and probe.fatal is None:
        yield fail(
            "GPUs",
            "the driver responds but lists no GPU",
            "check with lspci -d 10de: whether the GPUs are present; in a container set NVIDIA_VISIBLE_DEVICES=all",
            stops=True,
        )


def _version(facts: CheckContext, probe: NvmlAnswers) -> DoctorFinding:
    if facts.simulate is not None:
        return ok("driver", f"{probe.driver}, simulated in {facts.simulate}")
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
        return ok("driver", f"{probe.driver} according to NVML; the kernel module's version is not visible here")
    if module != probe.driver:
        means, fix = _FATAL["LIB_RM_VERSION_MISMATCH"]
        return warn("driver", f"NVML reports {probe.driver}, the kernel module is {module}: {means}", fix)
    return ok("driver", f"{probe.driver}, same version of library and kernel module")


SPEC = DoctorCheck("NVML's library, the driver and their versions", "driver", _look)
