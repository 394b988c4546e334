"""MIG mode."""

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, ok, warn


def _look(facts: CheckContext) -> Findings:
    modes = facts.probe.group_by(lambda gpu: gpu.info.mig_enabled)
    if off := modes.get(False):
        yield ok("MIG", "off", devices=off)
    if on := modes.get(True):
        yield warn(
            "MIG",
            "on: energy is measured for the whole GPU; without utilisation, its instances share energy by allocated time",
            "before you change instances, run wattlens agent release --for 2m",
            on,
        )


SPEC = DoctorCheck("MIG mode of each GPU", "gpus", _look)
