"""Weather, sun and hours around a simulated building, by its local time; and chance by a seed alone. Pure."""

import hashlib
import math
from typing import Final

from energy_agent.core.units import NS_PER_S
from energy_agent.sim.building.model import FacilityModel

HOUR_NS: Final = 3600 * NS_PER_S
DAY_NS: Final = 24 * HOUR_NS
_YEAR_NS: Final = round(365.2425 * DAY_NS)
_WARMEST_DAY: Final = 200.0  # of the year: the third week of July
_WARMEST_HOUR: Final = 15.0
_EQUINOX_DAY: Final = 80.0
_TILT_RAD: Final = math.radians(23.44)
_LIT: Final = (7.0, 19.0)


def draw(seed: int, *what: object) -> float:
    """A number in [0, 1) that is always the same for the same seed and subject."""
    digest = hashlib.sha256("/".join(map(str, (seed, *what))).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hour(local_ns: int) -> float:
    """Hour of the day, 0 to 24. `local_ns` is local time as ns since 1970-01-01 00:00 local."""
    return local_ns % DAY_NS / HOUR_NS


def outside_c(building: FacilityModel, local_ns: int) -> float:
    """Temperature of the air outside; its seasons are those of the hemisphere that the building is in."""
    season = _season(local_ns, _WARMEST_DAY) * math.copysign(1.0, building.latitude_deg)
    day = math.cos(math.tau * (hour(local_ns) - _WARMEST_HOUR) / 24)
    return building.outside_mean_c + building.outside_season_k * season + building.outside_day_k * day


def hottest_c(building: FacilityModel) -> float:
    """The maximum that `outside_c` gives."""
    return building.outside_mean_c + building.outside_season_k + building.outside_day_k


def lighting_w(building: FacilityModel, local_ns: int) -> float:
    """Power of the lighting."""
    return building.lighting_w if _LIT[0] <= hour(local_ns) < _LIT[1] else building.lighting_night_w


def pv_w(building: FacilityModel, seed: int, local_ns: int) -> float:
    """Power of the photovoltaics: the sine of the sun's elevation, less clouds that are others each hour."""
    if not building.pv_peak_w:
        return 0.0
    declination = _TILT_RAD * _season(local_ns, _EQUINOX_DAY + 91.3)
    latitude, angle = math.radians(building.latitude_deg), math.tau * (hour(local_ns) - 12) / 24
    height = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(angle)
    return building.pv_peak_w * max(0.0, height) * (1 - 0.7 * draw(seed, "clouds", local_ns // HOUR_NS))


def other_it_w(building: FacilityModel, seed: int, local_ns: int) -> float:
    """Power of the other equipment: a swing over the day whose peak the seed sets, and noise that is new every quarter hour."""
    peak = 12 + 6 * draw(seed, "peak")
    swing = math.cos(math.tau * (hour(local_ns) - peak) / 24)
    noise = 0.1 * (2 * draw(seed, "other", 4 * local_ns // HOUR_NS) - 1)
    return building.other_it_w * (1 + building.other_it_swing * (swing + noise))


def _season(local_ns: int, top_day: float) -> float:
    return math.cos(math.tau * (local_ns % _YEAR_NS - top_day * DAY_NS) / _YEAR_NS)
