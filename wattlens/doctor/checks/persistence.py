"""Persistence mode: off, each first client initialises the driver, which costs time and watts."""

from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    modes: dict[bool | None, list[int]] = {}
    for index, answers in sorted(facts.probe.devices.items()):
        modes.setdefault(answers.persistence, []).append(index)
    for mode, indices in modes.items():
        devices = tuple(indices)
        if mode is None:
            reason = facts.probe.devices[indices[0]].persistence_absent
            yield DoctorFinding(FindingLevel.ABSENT, "persistence", f"not available: {reason}", devices=devices)
        elif mode:
            yield DoctorFinding(FindingLevel.OK, "persistence", "on", devices=devices)
        else:
            means = (
                "off: the driver unloads whenever it has no client; the next client waits for seconds, and counters and "
                "limits are reset. A running agent keeps the driver loaded, so idle GPUs draw a few watts more"
            )
            fix = "enable the nvidia-persistenced service, or run nvidia-smi -pm 1"
            yield DoctorFinding(FindingLevel.WARN, "persistence", means, fix, devices)


SPEC = DoctorCheck("persistence mode of each GPU", "gpus", _look)
