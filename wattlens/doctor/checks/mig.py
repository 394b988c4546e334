"""MIG mode."""

from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    on = tuple(i for i, a in sorted(facts.probe.devices.items()) if a.info.mig_enabled)
    off = tuple(i for i, a in sorted(facts.probe.devices.items()) if not a.info.mig_enabled)
    if off:
        yield DoctorFinding(FindingLevel.OK, "MIG", "off", devices=off)
    if on:
        means = "on: energy is measured for the whole GPU; without utilisation, its instances share energy by allocated time"
        fix = "before you change instances, run wattlens agent release --for 2m"
        yield DoctorFinding(FindingLevel.WARN, "MIG", means, fix, on)


SPEC = DoctorCheck("MIG mode of each GPU", "gpus", _look)
