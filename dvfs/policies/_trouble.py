"""When a policy lets go, whatever it would like: readings that are missing or old, heat, a power brake. Pure."""

from dvfs.types import THERMAL_REASONS, Observation


def trouble(observation: Observation, stale_ns: int) -> str:
    """Why steering is not permitted now, in one word; "" if it is."""
    oldest = observation.boot_ns - stale_ns
    if not observation.devices:
        return "no_devices"
    for device in observation.devices:
        if device.boot_ns < oldest:
            return "stale"
        if device.sm_clock_mhz is None or device.event_reasons is None:
            return "missing"
        for bit, name in THERMAL_REASONS.items():
            if device.event_reasons & bit:
                return name
    progress = observation.progress
    if progress is None:
        return "no_progress" if observation.progress_expected else ""
    return "stale_progress" if progress.boot_ns < oldest else ""
