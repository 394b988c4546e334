"""Combination of the requests for a device into one setting. Pure.

Priority is thermal > budget > SLO > efficiency, and a lower one never exceeds or undoes a higher one:

- Heat releases the clock, so that the GPU's own protection is not measured as an effect of steering. Power stays limited.
- The lowest cap of power holds.
- An SLO requests an exact setting: a higher clock costs energy, a lower one misses limits. The first such policy counts.
- Efficiency sets upper bounds, the lowest of which holds, where no SLO decides.
"""

from collections.abc import Sequence

from dvfs.types import Setting


def settle(*, hot: bool, caps_mw: Sequence[int], slo: Sequence[Setting], efficiency: Sequence[Setting]) -> Setting:
    """Return the setting of a device; a knob that nobody limits keeps its original setting."""
    policies = slo[:1] or efficiency
    clocks = [setting.sm_clock_max_mhz for setting in policies if setting.sm_clock_max_mhz is not None and not hot]
    powers = [setting.power_limit_mw for setting in policies if setting.power_limit_mw is not None]
    return Setting(min(clocks, default=None), min([*powers, *caps_mw], default=None))
