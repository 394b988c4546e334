"""What a sweep measured of a workload, as plain JSON: never code, never a pickle. Read and written here alone.

    {"schema": 1, "workload": ..., "sku": ..., "driver": ..., "simulated": false, "work": "steps", "points": [
      {"sm_clock_mhz": 1305, "power_limit_w": null, "n": 12, "time_s": ..., "time_low_s": ..., "time_high_s": ...,
       "power_w": ..., "power_low_w": ..., "power_high_w": ..., "temperature_c": ..., "binding": [...]}]}

A null setting is "as found". Intervals are 95 %.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dvfs.tables import Row, Table

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Point:
    """One setting as it was measured. `n` is the number of stretches, `time_s` the time per work, both with intervals."""

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

    @property
    def key(self) -> tuple[int | None, float | None]:
        """The setting."""
        return self.sm_clock_mhz, self.power_limit_w


@dataclass(frozen=True, slots=True)
class Profile:
    """A sweep, finished or not."""

    workload: str
    sku: str
    driver: str
    simulated: bool
    work: str  # what time is per: steps | tokens
    sm_clock_max_mhz: int
    power_limit_found_w: float
    devices: int = 1
    points: tuple[Point, ...] = field(default_factory=tuple)

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
    raw = data.get("points")
    if not isinstance(raw, list):
        raise ValueError("no profile: 'points' must be a list")
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
    clock, limit, binding = raw.get("sm_clock_mhz"), raw.get("power_limit_w"), raw.get("binding", [])
    try:
        if not isinstance(binding, list):
            raise ValueError("binding must be a list")
        return Point(
            None if clock is None else int(_number(raw, "sm_clock_mhz")),
            None if limit is None else _number(raw, "power_limit_w"),
            int(_number(raw, "n")),
            _number(raw, "time_s"),
            _number(raw, "time_low_s"),
            _number(raw, "time_high_s"),
            _number(raw, "power_w"),
            _number(raw, "power_low_w"),
            _number(raw, "power_high_w"),
            None if raw.get("temperature_c") is None else _number(raw, "temperature_c"),
            tuple(str(reason)[:40] for reason in binding),
        )
    except ValueError as error:
        raise ValueError(f"points[{i}]: {error}") from error


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
