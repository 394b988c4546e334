"""The guard: turns a request into a permitted setting, or refuses it. Pure; every write passes it.

Laws: the result lies within the owner's limits and the device's constraints, and never above the original setting: steering
saves, and never raises a limit. A clock lock is (lowest..f) with lowest < f, so that the device can still idle; a clock without
a declared baseline is refused, since the value to restore would be unknown.
"""

from dataclasses import dataclass

from dvfs.types import Baseline, Constraints, DeviceLimits, Setting


class ActuatorRefusalError(Exception):
    """A refused request or a missing lease. `code` is a one-word metric label, `reason` the text for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be written: None for a knob that keeps its original value."""

    power_mw: int | None = None
    clock_mhz: tuple[int, int] | None = None

    @property
    def setting(self) -> Setting:
        """The setting that this permit amounts to."""
        return Setting(self.clock_mhz[1] if self.clock_mhz else None, self.power_mw)


def permit(setting: Setting, limits: DeviceLimits, constraints: Constraints, found_mw: int | None = None) -> Permit:
    """Clamp `setting` into what owner and device allow; `found_mw` is the power limit as it was before anything was set.

    Raises:
        ActuatorRefusalError: a knob that is not allowed, has no baseline, or where the ranges leave nothing to choose.
    """
    power = None if setting.power_limit_mw is None else _power(setting.power_limit_mw, limits, constraints, found_mw)
    clock = None if setting.sm_clock_max_mhz is None else _clock(setting.sm_clock_max_mhz, limits, constraints)
    return Permit(power, clock)


def _power(requested: int, limits: DeviceLimits, constraints: Constraints, found_mw: int | None) -> int:
    if "power" not in limits.knobs:
        raise ActuatorRefusalError("knob_not_allowed", "the power knob is not in the allow-list of this device")
    if constraints.power_mw is None:
        raise ActuatorRefusalError("not_supported", "the device does not report its power limit range")
    low, high = _overlap(limits.power_mw, constraints.power_mw, "power")
    if found_mw is not None and found_mw < low:
        raise ActuatorRefusalError(
            "empty_range", f"the original limit, {found_mw} mW, is below the allowed minimum of {low} mW"
        )
    return min(max(requested, low), high if found_mw is None else min(high, found_mw))


def _clock(requested: int, limits: DeviceLimits, constraints: Constraints) -> tuple[int, int]:
    if "clock" not in limits.knobs:
        raise ActuatorRefusalError("knob_not_allowed", "the clock knob is not in the allow-list of this device")
    if limits.baseline is None:
        raise ActuatorRefusalError("no_baseline", "the clock knob needs a declared baseline: a clock lock cannot be read back")
    clocks = sorted(set(constraints.sm_clocks_mhz))
    if len(clocks) < 2:
        raise ActuatorRefusalError("not_supported", "the device does not report its SM clocks")
    low, high = _overlap(limits.sm_clock_mhz, (clocks[0], clocks[-1]), "clock")
    if limits.baseline != "unlocked":
        high = min(high, limits.baseline[1])
    choices = [c for c in clocks if low <= c <= high and c > clocks[0]]
    if not choices:
        raise ActuatorRefusalError("empty_range", f"the device has no SM clock from {low} to {high} MHz above its lowest clock")
    # Between two steps the higher one: the guard may cost joules, but never more speed than requested.
    return clocks[0], next((c for c in choices if c >= requested), choices[-1])


def _overlap(allowed: tuple[int, int] | None, possible: tuple[int, int], knob: str) -> tuple[int, int]:
    low, high = possible if allowed is None else (max(allowed[0], possible[0]), min(allowed[1], possible[1]))
    if low > high:
        raise ActuatorRefusalError(
            "empty_range", f"the allowed {knob} range {allowed} does not overlap the device's {possible}"
        )
    return low, high


def baseline_fits(baseline: Baseline, constraints: Constraints) -> bool:
    """Whether a declared clock range is one that the device has; `unlocked` always is."""
    if baseline == "unlocked":
        return True
    clocks = constraints.sm_clocks_mhz
    return bool(clocks) and min(clocks) <= baseline[0] <= baseline[1] <= max(clocks)
