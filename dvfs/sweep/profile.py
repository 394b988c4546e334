"""What a sweep measured of a workload, as plain JSON: never code, never a pickle. Read and written here alone.

    {"schema": 1, "workload": ..., "sku": ..., "driver": ..., "simulated": false, "work": "steps", "points": [
      {"sm_clock_mhz": 1305, "power_limit_w": null, "n": 12, "time_s": ..., "time_low_s": ..., "time_high_s": ...,
       "power_w": ..., "power_low_w": ..., "power_high_w": ..., "temperature_c": ..., "binding": [...]}]}

A null setting is "as found". Intervals are 95 %. Powers are those of all devices together, a limit is that of each. `plan` and
`stretches` are what a sweep goes on from (dvfs/sweep/next_setting.py); a profile without them is as good to everybody else.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dvfs.proof.estimate import Ratio
from dvfs.tables import Row, Table

SCHEMA = 1
MAX_STRETCHES = 100_000
Key = tuple[int | None, float | None]
"""A setting: SM clock in MHz and power limit in W; None is "as found"."""
REFERENCE: Key = (None, None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep is to measure (docs/dvfs-sweep.md).

    Args:
        settings: all but the reference.
        repeats: how often each at most.
        seconds: length of a stretch.
        settle_s: time between a setting and its stretch.
        precision_ratio: a setting is known once the intervals of its time and power are within this.
        seed: of the order.
    """

    settings: tuple[Key, ...]
    repeats: int
    seconds: float
    settle_s: float
    precision_ratio: float
    seed: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of time at one setting.

    Args:
        sm_clock_mhz: the setting.
        power_limit_w: the setting.
        session: number of the run of the sweep in which it was measured, from 1.
        utc_s: its middle.
        seconds: its length.
        time_s: time per work.
        power_w: mean power of all devices.
        temperature_c: mean.
        binding: why the clock was below what was asked for.
    """

    sm_clock_mhz: int | None
    power_limit_w: float | None
    session: int
    utc_s: float
    seconds: float
    time_s: float
    power_w: float
    temperature_c: float | None = None
    binding: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """The setting."""
        return self.sm_clock_mhz, self.power_limit_w


@dataclass(frozen=True, slots=True)
class Point:
    """One setting as it was measured. `n` is the number of stretches, `time_s` the time per work, both with intervals.

    `slowdown` and `saving` (of energy per work) are against the reference nearby in time, so what drifts is not in their
    intervals; None for the reference itself.
    """

    sm_clock_mhz: int | None
    power_limit_w: float | None
    n: int
    time_s: float
    time_low_s: float
    time_high_s: float
    power_w: float
    power_low_w: float
    power_high_w: float
    temperature_c: float | None = None
    binding: tuple[str, ...] = ()  # clock event reasons that were seen
    slowdown: Ratio | None = None
    saving: Ratio | None = None

    @property
    def key(self) -> Key:
        """The setting."""
        return self.sm_clock_mhz, self.power_limit_w


@dataclass(frozen=True, slots=True)
class Profile:
    """A sweep, finished or not.

    Args:
        gain_uncertainty_ratio: systematic error of the boards' sensors, the same for all powers, so in none of the intervals.
        spoiled: stretches that were measured again since something else happened within them.
    """

    workload: str
    sku: str
    driver: str
    simulated: bool
    work: str  # what time is per: steps | tokens
    sm_clock_max_mhz: int
    power_limit_found_w: float
    devices: int = 1
    points: tuple[Point, ...] = field(default_factory=tuple)
    gain_uncertainty_ratio: float | None = None
    spoiled: int = 0
    plan: Plan | None = None
    stretches: tuple[Stretch, ...] = ()

    def point(self, clock: int | None, limit: float | None) -> Point | None:
        """What was measured at a setting."""
        return next((p for p in self.points if p.key == (clock, limit)), None)


def dump(profile: Profile) -> str:
    """The file's text, the same for the same profile."""
    return json.dumps({"schema": SCHEMA, **asdict(profile)}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def load(path: Path) -> Profile:
    """Read a profile; raises ValueError with what is wrong in it, OSError where it cannot be read."""
    return parse(json.loads(path.read_text()))


def parse(data: object) -> Profile:
    """A profile out of decoded JSON.

    Raises:
        ValueError: it is none; says what is wrong.
    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(f"no profile: must be an object with 'schema': {SCHEMA}")
    raw, stretches = data.get("points"), data.get("stretches", [])
    if not isinstance(raw, list):
        raise ValueError("no profile: 'points' must be a list")
    if not isinstance(stretches, list) or len(stretches) > MAX_STRETCHES:
        raise ValueError(f"'stretches' must be a list of at most {MAX_STRETCHES}")
    return Profile(
        _text(data, "workload"),
        _text(data, "sku"),
        _text(data, "driver"),
        data.get("simulated") is True,
        _text(data, "work"),
        int(_number(data, "sm_clock_max_mhz")),
        _number(data, "power_limit_found_w"),
        int(_number(data, "devices")),
        tuple(_point(each, i) for i, each in enumerate(raw)),
        _optional(data, "gain_uncertainty_ratio"),
        0 if not data.get("spoiled") else int(_number(data, "spoiled")),
        None if data.get("plan") is None else _plan(data["plan"]),
        tuple(_stretch(each, i) for i, each in enumerate(stretches)),
    )


def tables(data: object, name: str) -> list[Table]:
    """Its tables: over the clock at the limit as found, and over the limit at the clock as found.

    Raises:
        ValueError: as `parse`.
    """
    profile = parse(data)
    named = profile.workload or name
    clocks = [
        Row(float(p.sm_clock_mhz or profile.sm_clock_max_mhz), p.time_s, p.power_w)
        for p in profile.points
        if p.power_limit_w is None
    ]
    limits = [
        Row(p.power_limit_w or profile.power_limit_found_w, p.time_s, p.power_w)
        for p in profile.points
        if p.sm_clock_mhz is None
    ]
    found = (("sm_clock_mhz", clocks), ("power_limit_w", limits))
    return [Table(f"{named} {knob}", knob, tuple(sorted(rows))) for knob, rows in found]


def _point(raw: object, i: int) -> Point:
    if not isinstance(raw, dict):
        raise ValueError(f"points[{i}] must be an object")
    try:
        return Point(
            *_key(raw),
            int(_number(raw, "n")),
            _number(raw, "time_s"),
            _number(raw, "time_low_s"),
            _number(raw, "time_high_s"),
            _number(raw, "power_w"),
            _number(raw, "power_low_w"),
            _number(raw, "power_high_w"),
            _optional(raw, "temperature_c"),
            _binding(raw),
            _ratio(raw, "slowdown"),
            _ratio(raw, "saving"),
        )
    except ValueError as error:
        raise ValueError(f"points[{i}]: {error}") from error


def _stretch(raw: object, i: int) -> Stretch:
    if not isinstance(raw, dict):
        raise ValueError(f"stretches[{i}] must be an object")
    try:
        return Stretch(
            *_key(raw),
            int(_number(raw, "session")),
            _number(raw, "utc_s"),
            _number(raw, "seconds"),
            _number(raw, "time_s"),
            _number(raw, "power_w"),
            _optional(raw, "temperature_c"),
            _binding(raw),
        )
    except ValueError as error:
        raise ValueError(f"stretches[{i}]: {error}") from error


def _plan(raw: object) -> Plan:
    settings = raw.get("settings") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(settings, list):
        raise ValueError("plan must be an object with a list 'settings'")
    keys = []
    for i, pair in enumerate(settings):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"plan.settings[{i}] must be [clock in MHz or null, limit in W or null]")
        keys.append(_key({"sm_clock_mhz": pair[0], "power_limit_w": pair[1]}))
    seconds, settle_s, precision = (_number(raw, name) for name in ("seconds", "settle_s", "precision_ratio"))
    return Plan(tuple(keys), int(_number(raw, "repeats")), seconds, settle_s, precision, int(_number(raw, "seed")))


def _key(raw: Mapping[str, Any]) -> Key:
    clock, limit = raw.get("sm_clock_mhz"), raw.get("power_limit_w")
    return (
        None if clock is None else int(_number(raw, "sm_clock_mhz")),
        None if limit is None else float(_number(raw, "power_limit_w")),
    )


def _binding(raw: Mapping[str, Any]) -> tuple[str, ...]:
    binding = raw.get("binding", [])
    if not isinstance(binding, list):
        raise ValueError("binding must be a list")
    return tuple(str(reason)[:40] for reason in binding)


def _ratio(raw: Mapping[str, Any], key: str) -> Ratio | None:
    value = raw.get(key)
    if value is None:
        return None
    parts: Sequence[Any] = [value.get(name) for name in ("value", "low", "high")] if isinstance(value, dict) else []
    if not parts or any(isinstance(p, bool) or not isinstance(p, int | float) or not math.isfinite(p) for p in parts):
        raise ValueError(f"{key} must have the numbers value, low and high")
    return Ratio(*parts)


def _optional(data: Mapping[str, Any], key: str) -> float | None:
    return None if data.get(key) is None else _number(data, key)


def _number(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{key} must be a number above 0")
    return value


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} must be a text")
    return value[:200]
