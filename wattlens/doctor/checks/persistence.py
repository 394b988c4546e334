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
            yield DoctorFinding(FindingLevel.ABSENT, "persistence", f"not told: {reason}", devices=devices)
        elif mode:
            yield DoctorFinding(FindingLevel.OK, "persistence", "on", devices=devices)
        else:
            means = (
                "off: whenever no client is open the driver is torn down; the next one waits seconds for it, and counters and "
                "limits start anew. The agent holds it open while it runs, which keeps idle GPUs some watts higher"
            )
            fix = "enable the nvidia-persistenced service, or nvidia-smi -pm 1"
            yield DoctorFinding(FindingLevel.WARN, "persistence", means, fix, devices)


SPEC = DoctorCheck("persistence mode of each GPU", "gpus", _look)
