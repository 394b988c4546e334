"""MIG mode."""

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, ok, warn


def _look(facts: CheckContext) -> Findings:
    on = tuple(i for i, a in sorted(facts.probe.devices.items()) if a.info.mig_enabled)
    off = tuple(i for i, a in sorted(facts.probe.devices.items()) if not a.info.mig_enabled)
    if off:
        yield ok("MIG", "off", devices=off)
    if on:
        yield warn(
            "MIG",
            "on: energy is measured for the whole GPU; without utilisation, its instances share energy by allocated time",
            "before you change instances, run wattlens agent release --for 2m",
            on,
        )


SPEC = DoctorCheck("MIG mode of each GPU", "gpus", _look)
