"""RAPL: energy counters of processor packages and memory, in /sys/class/powercap."""

import os

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, absent, ok, warn


def _look(facts: CheckContext) -> Findings:
    if facts.simulate is not None:
        yield absent("RAPL", "not checked on a simulated node")
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
        yield ok("RAPL", f"readable: {', '.join(readable)}")
    if denied:
        yield warn(
            "RAPL",
            f"present, but not readable by this user (root only since 2020): {', '.join(denied)}",
            "run the agent as root, or give its group read access with a udev rule; otherwise CPU energy is absent",
        )
    if not readable and not denied:
        yield absent(
            "RAPL", "no counters (virtual machine, container without /sys, or processor without RAPL); CPU energy is absent"
        )


SPEC = DoctorCheck("energy counters of processors and memory", "node", _look)
