"""RAPL: energy counters of processor packages and memory, in /sys/class/powercap."""

import os
from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    if facts.simulate is not None:
        yield DoctorFinding(FindingLevel.ABSENT, "RAPL", "not checked on a simulated node")
        return
    readable: list[str] = []
    denied: list[str] = []
    for counter in sorted((facts.root / "sys/class/powercap").glob("*rapl*/energy_uj")):
        try:
            name = (counter.parent / "name").read_text().strip()
        except OSError:
            name = counter.parent.name
        (readable if os.access(counter, os.R_OK) else denied).append(name)
    if readable:
        yield DoctorFinding(FindingLevel.OK, "RAPL", f"readable: {', '.join(readable)}")
    if denied:
        means = f"present, but not readable by this user (root only since 2020): {', '.join(denied)}"
        fix = "run the agent as root, or give its group read access with a udev rule; otherwise CPU energy is absent"
        yield DoctorFinding(FindingLevel.WARN, "RAPL", means, fix)
    if not readable and not denied:
        means = "no counters (virtual machine, container without /sys, or processor without RAPL); CPU energy is absent"
        yield DoctorFinding(FindingLevel.ABSENT, "RAPL", means)


SPEC = DoctorCheck("energy counters of processors and memory", "node", _look)
