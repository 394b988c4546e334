"""The result of a sweep as plain JSON. Only this module reads and writes it.

    {"schema": 1, "workload": ..., "sku": ..., "driver": ..., "simulated": false, "work": "steps", "points": [
      {"sm_clock_mhz": 1305, "power_limit_w": null, "n": 12, "time_s": ..., "time_low_s": ..., "time_high_s": ...,
       "power_w": ..., "power_low_w": ..., "power_high_w": ..., "temperature_c": ..., "binding": [...]}]}

A null setting is the original setting. Intervals are 95 %. Powers are those of all devices together, a limit is that of each.
A sweep resumes from `plan` and `stretches` (dvfs/sweep/next_setting.py); readers need neither.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, with_config

from dvfs.tables import SettingRow, SettingTable
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.runtime.files import json_file

MAX_STRETCHES = 100_000
Count = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(max_length=1000)]
Key = tuple[Count | None, Amount | None]
"""A setting: SM clock in MHz and power limit in W; None is the original setting."""
REFERENCE: Key = (None, None)


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep measures (docs/dvfs-test.md).

    Args:
        settings: all but the reference.
        repeats: how often each at most.
        seconds: length of an interval.
        settle_s: time between applying a setting and its interval.
        precision_ratio: a setting is known once the intervals of its time and power are within this.
        seed: of the order.
    """

    settings: tuple[Key, ...]
    repeats: Count
    seconds: Amount
    settle_s: Amount
    precision_ratio: Amount
    seed: Count


@dataclass(frozen=True, slots=True)
class SettingInterval:
    """One measured interval at one setting.

    Args:
        sm_clock_mhz: the setting.
        power_limit_w: the setting.
        session: number of the run of the sweep in which it was measured, from 1.
        utc_s: its middle.
        seconds: its length.
        time_s: time per work.
        power_w: mean power of all devices.
        temperature_c: mean.
        binding: why the clock was below the requested one.
    """

    sm_clock_mhz: Count | None
    power_limit_w: Amount | None
    session: Count
    utc_s: Amount
    seconds: Amount
    time_s: Amount
    power_w: Amount
    temperature_c: Amount | None = None
    binding: tuple[Text, ...] = ()

    @property
    def key(self) -> Key:
        """The setting."""
        return self.sm_clock_mhz, self.power_limit_w


@dataclass(frozen=True, slots=True)
class SettingEstimate:
    """The estimate for one setting from `n` intervals; `time_s` is the time per work. Both quantities have intervals.

    `slowdown` and `saving` (of energy per work) are against the reference nearby in time, so what drifts is not in their
    intervals; None for the reference itself.
    """

    sm_clock_mhz: Count | None
    power_limit_w: Amount | None
    n: Count
    time_s: Amount
    time_low_s: Amount
    time_high_s: Amount
    power_w: Amount
    power_low_w: Amount
    power_high_w: Amount
    temperature_c: Amount | None = None
    binding: tuple[Text, ...] = ()  # clock event reasons that were seen
    slowdown: ConfidenceInterval | None = None
    saving: ConfidenceInterval | None = None

    @property
    def key(self) -> Key:
        """The setting."""
        return self.sm_clock_mhz, self.power_limit_w


@with_config(ConfigDict(strict=True, allow_inf_nan=False))
@dataclass(frozen=True, slots=True)
class SweepProfile:
    """Result of a sweep, complete or not.

    Args:
        gain_uncertainty_ratio: systematic error of the boards' sensors, the same for all powers, so in none of the intervals.
        spoiled: intervals that were measured again because something else happened during them.
    """

    workload: Text
    sku: Text
    driver: Text
    simulated: bool
    work: Text  # what time is per: steps | tokens
    sm_clock_max_mhz: Count
    power_limit_found_w: Amount
    devices: Count = 1
    points: tuple[SettingEstimate, ...] = field(default_factory=tuple)
    gain_uncertainty_ratio: Amount | None = None
    spoiled: Annotated[int, Field(ge=0)] = 0
    plan: SweepPlan | None = None
    stretches: Annotated[tuple[SettingInterval, ...], Field(max_length=MAX_STRETCHES)] = ()
    schema: Literal[1] = 1


def dump(profile: SweepProfile) -> str:
    """The file's text, the same for the same profile."""
    return json.dumps(asdict(profile), indent=1, sort_keys=True, allow_nan=False) + "\n"


def load(path: Path) -> SweepProfile:
    """Read a profile. Raises UsageError with file and key if the file has none."""
    return json_file.load(_PROFILE, path)


def parse(text: str, name: str) -> SweepProfile:
    """A profile from JSON text; `name` is the file in messages. Raises UsageError as `load` does."""
    return json_file.parse(_PROFILE, text, name)


_PROFILE = TypeAdapter(SweepProfile)


def tables(profile: SweepProfile, name: str) -> list[SettingTable]:
    """Its tables: over the clock at the original power limit, and over the limit at the original clock."""
    named = profile.workload or name
    clocks = [
        SettingRow(float(p.sm_clock_mhz or profile.sm_clock_max_mhz), p.time_s, p.power_w)
        for p in profile.points
        if p.power_limit_w is None
    ]
    limits = [
        SettingRow(p.power_limit_w or profile.power_limit_found_w, p.time_s, p.power_w)
        for p in profile.points
        if p.sm_clock_mhz is None
    ]
    by_knob = (("sm_clock_mhz", clocks), ("power_limit_w", limits))
    return [SettingTable(f"{named} {knob}", knob, tuple(sorted(rows))) for knob, rows in by_knob]
