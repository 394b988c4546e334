"""Persistence mode: off, each first client initialises the driver, which costs time and watts."""

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, absent, ok, warn


def _look(facts: CheckContext) -> Findings:
    for mode, devices in facts.probe.group_by(lambda gpu: gpu.persistence).items():
        if mode is None:
            reason = facts.probe.devices[devices[0]].persistence_absent
            yield absent("persistence", f"not available: {reason}", devices=devices)
        elif mode:
            yield ok("persistence", "on", devices=devices)
        else:
            yield warn(
                "persistence",
                "off: the driver unloads whenever it has no client; the next client waits for seconds, and counters and "
                "limits are reset. A running agent keeps the driver loaded, so idle GPUs draw a few watts more",
                "enable the nvidia-persistenced service, or run nvidia-smi -pm 1",
                devices,
            )


SPEC = DoctorCheck("persistence mode of each GPU", "gpus", _look)
