"""What workloads ask of their own GPUs over the agent's socket: each word with the time until which it holds."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dvfs.types import Setting
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock

TTL_MAX_S = 60.0
_OF_PLACE_MAX, _WORKLOADS_MAX = 256, 16_384
_FIELDS = frozenset({"sm_clock_max_mhz", "power_limit_w", "ttl_s", "lead"})
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ask:
    """One word: a setting, or that its job is led from here."""

    setting: Setting | None
    lead: bool
    until_ns: int
    place: str = ""


class Asks:
    """Filled by the socket's threads, read by the governor's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_workload: dict[str, Ask] = {}

    def take(self, workload: str, body: object, place: str = "") -> None:
        """Take a word; `place` names who shares its places on the socket, so that nobody takes those of others.

        Raises:
            UsageError: it is none; says what is wrong.
        """
        setting, lead, ttl_s = _parsed(body)
        now = self._clock.boot_ns()
        with self._lock:
            self._by_workload = {w: a for w, a in self._by_workload.items() if a.until_ns > now}
            if workload not in self._by_workload:
                if sum(a.place == place for a in self._by_workload.values()) >= _OF_PLACE_MAX:
                    raise UsageError(f"{_OF_PLACE_MAX} workloads of {place or 'this node'} request settings already")
                if len(self._by_workload) >= _WORKLOADS_MAX:
                    raise UsageError(f"{_WORKLOADS_MAX} workloads request settings already")
            self._by_workload[workload] = Ask(setting, lead, now + int(ttl_s * _NS), place)

    def common(self, workloads: Iterable[str]) -> Setting | None:
        """The setting that these workloads request together: of each knob the highest. None while one of them requests none."""
        settings = [ask.setting if (ask := self.of(workload)) is not None else None for workload in workloads]
        wanted = [setting for setting in settings if setting is not None]
        if not wanted or len(wanted) < len(settings):
            return None
        clocks, powers = [s.sm_clock_max_mhz for s in wanted], [s.power_limit_mw for s in wanted]
        return Setting(_highest(clocks), _highest(powers))

    def of(self, workload: str) -> Ask | None:
        """The word of a workload that holds now."""
        with self._lock:
            ask = self._by_workload.get(workload)
        return ask if ask is not None and ask.until_ns > self._clock.boot_ns() else None


def _highest(values: Iterable[int | None]) -> int | None:
    """None, the original setting, is above all."""
    known = list(values)
    return None if None in known else max(v for v in known if v is not None)


def _parsed(body: object) -> tuple[Setting | None, bool, float]:
    if not isinstance(body, Mapping):
        raise UsageError("the body is not a JSON object")
    if unknown := set(body) - _FIELDS:
        raise UsageError(f"unknown field {min(map(str, unknown))[:40]!r}; there are: {', '.join(sorted(_FIELDS))}")
    ttl_s = _number(body, "ttl_s", 0.001, TTL_MAX_S) or 10.0
    clock, power_w = _number(body, "sm_clock_max_mhz", 1, 10_000), _number(body, "power_limit_w", 1, 10_000)
    lead = body.get("lead", False)
    if not isinstance(lead, bool):
        raise UsageError("lead must be true or false")
    setting = Setting(None if clock is None else int(clock), None if power_w is None else round(power_w * 1000))
    return (None if setting == Setting() else setting), lead, ttl_s


def _number(body: Mapping[Any, Any], key: str, least: float, most: float) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UsageError(f"{key} must be a number from {least:g} to {most:g}")
    return float(value)
