"""Check whether a setting took effect, from later readings of the device. Pure.

A call that succeeded proves nothing: an arbiter in the driver may end elsewhere, and a lock above the clock to which power or
heat already bind the device does nothing. Such time is counted as ineffective.
"""

from dvfs.types import BINDING_REASONS, DeviceObservation, Setting

FOREIGN = frozenset({"limit_differs", "clock_above_lock"})
"""Where these last, somebody else has changed the setting."""
PROBES = frozenset({"probe", "trial", "reference"})
"""Reasons of decisions that try a setting: one above the clock that the power limit permits is then a result, not a fault."""
_STEP_MHZ = 15  # clocks come in steps of 15 MHz or less
_STEP_MW = 1000


def ineffective(device: DeviceObservation, setting: Setting) -> str:
    """Why `setting` has no effect on this device, in one word; "" if it has one or this is unknown (an idle device)."""
    limit, applied_mw = setting.power_limit_mw, device.power_limit_mw
    if limit is not None and applied_mw is not None and abs(applied_mw - limit) > _STEP_MW:
        return "limit_differs"
    clock, now = setting.sm_clock_max_mhz, device.sm_clock_mhz
    if clock is None or now is None or device.event_reasons is None or not device.gpu_percent:
        return ""
    if now > clock + _STEP_MHZ:
        return "clock_above_lock"
    if now < clock - _STEP_MHZ:
        return next((name for bit, name in BINDING_REASONS.items() if device.event_reasons & bit), "")
    return ""
