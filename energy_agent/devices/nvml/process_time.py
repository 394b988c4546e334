"""SM time of processes from the samples of nvmlDeviceGetProcessUtilization. Pure.

Some drivers return one sample per process, the mean since the requested time; others return one per sampling period. Drivers
also return samples from before that time, processes that have ended, and occasionally garbage (a utilisation of
808,334,905 %). Time stamps are in us since 1970 on the driver's own clock. They are compared with each other, and with our
clock only to detect garbage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from energy_agent.devices.nvml.abi import Utilization

PERIOD_MAX_US: Final = 1_000_000
"""The longest sampling period of a driver (nvml.h: 1/6 s to 1 s)."""
WINDOW_MAX_US: Final = 60_000_000
STRAY_US: Final = 24 * 3600 * 1_000_000
"""A stamp further than this from our clock is garbage."""


@dataclass(frozen=True, slots=True)
class SmTime:
    """SM time in us by pid since the last answer, and the stamp to ask from next time. `believed`: not all was garbage."""

    by_pid: Mapping[int, int]
    last_us: int
    believed: bool


def sm_time(samples: Iterable[Utilization], since_us: int, now_us: int) -> SmTime:
    """What processes used after `since_us`; an answer without samples says that nothing ran."""
    listed = list(samples)
    sane = [s for s in listed if s.pid > 0 and 0 <= s.sm_percent <= 100 and abs(s.timestamp_us - now_us) < STRAY_US]
    fresh: dict[tuple[int, int], int] = {}
    for s in sane:
        if s.timestamp_us > since_us:
            key = (s.timestamp_us, s.pid)
            fresh[key] = max(fresh.get(key, 0), s.sm_percent)
    stamps = sorted({stamp for stamp, _ in fresh})
    if not stamps:
        believed = not listed or bool(sane)
        return SmTime({}, max(since_us, now_us - PERIOD_MAX_US) if believed else since_us, believed)  # nothing ran until then
    lasted_us = _lasted_us(stamps, since_us, one_each=len({pid for _, pid in fresh}) == len(fresh))
    by_pid: dict[int, int] = {}
    for (stamp, pid), percent in fresh.items():
        by_pid[pid] = by_pid.get(pid, 0) + percent * lasted_us[stamp] // 100
    return SmTime(by_pid, stamps[-1], believed=True)


def _lasted_us(stamps: list[int], since_us: int, *, one_each: bool) -> dict[int, int]:
    """How long the time is that each stamp's samples stand for."""
    if one_each:  # means of the whole window
        return dict.fromkeys(stamps, min(stamps[-1] - since_us, WINDOW_MAX_US))
    return {stamp: min(stamp - before, PERIOD_MAX_US) for before, stamp in zip([since_us, *stamps], stamps, strict=False)}
