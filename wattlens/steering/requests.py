"""What workloads request for their own GPUs over the agent's socket, each with the time until which it holds."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field, ValidationError

from dvfs.types import Setting
from energy_agent.config.messages import explain
from energy_agent.config.section import Section
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S

TTL_MAX_S = 60.0
_OF_PLACE_MAX, _WORKLOADS_MAX = 256, 16_384


class _Body(Section, strict=True):
    sm_clock_max_mhz: float | None = Field(None, ge=1, le=10_000)
    power_limit_w: float | None = Field(None, ge=1, le=10_000)
    ttl_s: float | None = Field(None, ge=0.001, le=TTL_MAX_S)
    lead: bool = False


@dataclass(frozen=True, slots=True)
class SteeringRequest:
    """One request: a setting, or that a process of the workload leads its job."""

    setting: Setting | None
    lead: bool
    until_ns: int
    place: str = ""


class SteeringRequests:
    """Pending requests: the socket's threads add them, the governor's thread reads them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_workload: dict[str, SteeringRequest] = {}

    def take(self, workload: str, body: object, place: str = "") -> None:
        """Take a request; `place` names who shares its places on the socket, so that nobody takes those of others.

        Raises:
            UsageError: it is not one, or there are too many; says what is wrong.
        """
        if not isinstance(body, dict):
            raise UsageError("the body is not a JSON object")
        try:
            request = _Body.model_validate(body)
        except ValidationError as error:
            raise UsageError("; ".join(explain(error, _Body))) from None
        clock, power_w = request.sm_clock_max_mhz, request.power_limit_w
        setting = Setting(None if clock is None else int(clock), None if power_w is None else round(power_w * 1000))
        now = self._clock.boot_ns()
        until_ns = now + int((request.ttl_s or 10.0) * NS_PER_S)
        with self._lock:
            self._by_workload = {w: a for w, a in self._by_workload.items() if a.until_ns > now}
            if workload not in self._by_workload:
                if sum(a.place == place for a in self._by_workload.values()) >= _OF_PLACE_MAX:
                    raise UsageError(f"{_OF_PLACE_MAX} workloads of {place or 'this node'} request settings already")
                if len(self._by_workload) >= _WORKLOADS_MAX:
                    raise UsageError(f"{_WORKLOADS_MAX} workloads request settings already")
            self._by_workload[workload] = SteeringRequest(
                None if setting == Setting() else setting, request.lead, until_ns, place
            )

    def common(self, workloads: Iterable[str]) -> Setting | None:
        """The setting that these workloads request together: of each knob the highest. None while one of them requests none."""
        asks = [self.of(workload) for workload in workloads]
        settings = [ask.setting for ask in asks if ask is not None and ask.setting is not None]
        if not settings or len(settings) < len(asks):
            return None
        return Setting(_highest(s.sm_clock_max_mhz for s in settings), _highest(s.power_limit_mw for s in settings))

    def of(self, workload: str) -> SteeringRequest | None:
        """The request of a workload that holds now."""
        with self._lock:
            ask = self._by_workload.get(workload)
        return ask if ask is not None and ask.until_ns > self._clock.boot_ns() else None


def _highest(values: Iterable[int | None]) -> int | None:
    """None, the original setting, is above all."""
    items = list(values)
    return None if None in items else max(v for v in items if v is not None)
