"""Each reading of each GPU: there, not supported, or not permitted, as the agent's own reader finds it."""

from dataclasses import dataclass

from energy_agent.core.energy import DeviceSample
from wattlens.doctor.finding import CheckContext, DeviceAnswers, DoctorCheck, DoctorFinding, FindingLevel, Findings, fail, ok


@dataclass(frozen=True, slots=True)
class _Reading:
    name: str
    without: str  # what follows from its absence
    matters: bool  # its absence is worth a warning, not just a note


_READINGS = {
    "energy_mj": _Reading("energy counter", "energy is integrated from power, with a larger error", True),
    "power_mw": _Reading(
        "instant power", "energy comes only from the counter; windows below one second have large errors", True
    ),
    "power_average_mw": _Reading("average power", "not supported up to GA100; no other reading needs it", False),
    "power_limit_mw": _Reading("power limit", "no limit is shown, and power capping cannot be explained", True),
    "power_limit_requested_mw": _Reading("requested limit", "only the limit in effect is shown", False),
    "sm_clock_mhz": _Reading("SM clock", "clocks are not shown and cannot be steered", True),
    "memory_clock_mhz": _Reading("memory clock", "not shown", False),
    "temperature_c": _Reading("temperature", "not shown", True),
    "memory_temperature_c": _Reading("memory temperature", "not supported by this GPU or driver", False),
    "gpu_percent": _Reading("utilisation", "active and idle energy of a workload cannot be distinguished", True),
    "memory_used_b": _Reading("memory", "new processes are noticed only at the next process list", True),
    "event_reasons": _Reading("clock event reasons", "reasons for low clocks are not shown", True),
    "processes": _Reading("process list", "the GPU's processes are unknown: its energy is unattributed", True),
}
_FIX = {
    "NO_PERMISSION": (
        "run the agent as root, or give this user access (nvidia module option NVreg_RestrictProfilingToAdminUsers, "
        "hidepid, the container's devices)"
    ),
    "FUNCTION_NOT_FOUND": "install a newer driver",
    "UNKNOWN": "the driver returns an unknown error: see dmesg",
}


def _look(facts: CheckContext) -> Findings:
    missing: dict[tuple[str, str, bool], list[int]] = {}
    for index, answers in sorted(facts.probe.devices.items()):
        for key, reason in answers.sample.absent.items():
            missing.setdefault((key, reason, answers.info.mig_enabled), []).append(index)
        if _blind(answers.sample):
            means = "the GPU reports neither energy nor power: its energy cannot be recorded"
            alone = not all(_blind(a.sample) for a in facts.probe.devices.values())
            yield fail("no energy", means, "see the reasons below; a newer driver may help", (index,), stops=not alone)
    for names, indices in facts.probe.group_by(_supported).items():
        yield ok("readings", names, devices=indices)
    for (key, reason, mig), affected in missing.items():
        reading = _READINGS.get(key, _Reading(key, "not shown", False))
        plain = reason == "NOT_SUPPORTED"
        fix = "" if plain else _FIX.get(reason, "see dmesg and nvidia-smi")
        why = f"{reason} in MIG mode" if mig and plain and key == "gpu_percent" else reason
        status = FindingLevel.WARN if reading.matters or not plain else FindingLevel.ABSENT
        yield DoctorFinding(status, reading.name, f"{why}: {reading.without}", fix, tuple(affected))


def _supported(gpu: DeviceAnswers) -> str:
    return ", ".join(reading.name for key, reading in _READINGS.items() if key not in gpu.sample.absent)


def _blind(sample: DeviceSample) -> bool:
    return sample.energy_mj is None and sample.power_mw is None


SPEC = DoctorCheck("readings of each GPU, as the agent reads them", "gpus", _look)
