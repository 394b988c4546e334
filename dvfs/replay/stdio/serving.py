"""The open protocol for serving: a policy chooses the clock of a plant of your own, period by period (docs/dvfs-plant.md).

In, first:       {"knob": "sm_clock_mhz", "settings": [MHz, ...], "slo": {"ttft_ms": 500, "itl_ms": 50, "attainment": 0.99},
                  "period_s": 1, "gpus": 1, "role": "both"}
In, each period: {"t_s": 12.0, "energy_j": .., "setting": MHz, "tokens": {"prompt": .., "generation": ..}, "requests": ..,
                  "running": .., "waiting": .., "ttft": {"sum": .., "count": .., "buckets": [[0.25, 10], ["+Inf", 12]]}, ...}
Out, for each:   {"setting": MHz, "reason": ".."}

The policy gets the same observation as from the agent, so it is the code that steers in production.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from dvfs.knees import Knee
from dvfs.replay.stdio.lines import JsonLines
from dvfs.types import DeviceObservation, DvfsPolicy, Observation, Setting, SteeringSettings, WorkCounters
from energy_agent.core.errors import UsageError
from energy_agent.core.workloads.tokens import Latencies

MAX_SETTINGS = 1024
MAX_BUCKETS = 512
MAX_EDGE_S = 1e9
MAX_GPUS = 1024
GROUP = "plant"
_NS = 1_000_000_000
_START_NS = 1000 * _NS  # `t_s` may be 0, and nodes never are that young
_STALE_PERIODS = 3

Milliseconds = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Mhz = Annotated[int, Field(ge=1, le=100_000)]
Edge = Annotated[float, BeforeValidator(lambda edge: inf if edge == "+Inf" else edge), Field(gt=0)]


class _Slo(BaseModel, strict=True, extra="forbid"):
    ttft_ms: Milliseconds | None = None
    itl_ms: Milliseconds | None = None
    attainment: Annotated[float, Field(gt=0.5, lt=1)] = 0.99


class ServingStart(BaseModel, strict=True, extra="forbid"):
    """The first line. A key that is not known is an error: a misspelt limit would otherwise be no limit."""

    knob: Literal["sm_clock_mhz"] = "sm_clock_mhz"
    settings: Annotated[list[Mhz], Field(min_length=2, max_length=MAX_SETTINGS)]
    slo: _Slo
    period_s: Annotated[float, Field(ge=0.2, le=5)] = 1.0
    gpus: Annotated[int, Field(ge=1, le=MAX_GPUS)] = 1
    role: Literal["both", "prefill", "decode"] = "both"

    @model_validator(mode="after")
    def _has_limit(self) -> Self:
        if len(set(self.settings)) < 2:
            raise ValueError("settings: expected at least two different clocks")
        if self.terms().ttft_s is None and self.terms().itl_s is None:
            raise ValueError(f"slo: expected {_LIMITS_OF_ROLE[self.role]}")
        return self

    def terms(self) -> SteeringSettings:
        """The limits that concern this role: a prefill pool has no time between tokens, a decode pool no first token."""
        slo, role = self.slo, self.role
        ttft_s = None if slo.ttft_ms is None or role == "decode" else slo.ttft_ms / 1e3
        itl_s = None if slo.itl_ms is None or role == "prefill" else slo.itl_ms / 1e3
        return SteeringSettings(ttft_s=ttft_s, itl_s=itl_s, attainment_ratio=slo.attainment)


_LIMITS_OF_ROLE = {"both": "ttft_ms or itl_ms", "prefill": "ttft_ms", "decode": "itl_ms"}


class _Histogram(BaseModel, strict=True):
    sum: Amount | None = None
    count: Amount | None = None
    buckets: Annotated[list[tuple[Edge, Amount]], Field(max_length=MAX_BUCKETS)] | None = None

    @model_validator(mode="after")
    def _is_cumulative(self) -> Self:
        buckets = self.buckets or []
        if any(MAX_EDGE_S < edge < inf for edge, _ in buckets):
            raise ValueError(f"buckets: expected upper edges of at most {MAX_EDGE_S:g} s")
        for (low, few), (high, more) in pairwise(buckets):
            if not low < high:
                raise ValueError('buckets: expected rising upper edges in s, with "+Inf" last')
            if more < few:
                raise ValueError("buckets: expected cumulative counts, got one that falls")
        if buckets and self.count is not None and self.count < buckets[-1][1]:
            raise ValueError("count: expected at least that of the last bucket")
        return self

    def latencies(self) -> Latencies | None:
        """None: without buckets or sum it has no use."""
        if not self.buckets or self.sum is None:
            return None
        whole = round(self.count if self.count is not None else self.buckets[-1][1])
        finite = [(edge, round(n)) for edge, n in self.buckets if edge < inf]
        cumulative = [0, *(n for _, n in finite), whole]
        return Latencies(tuple(edge for edge, _ in finite), tuple(b - a for a, b in pairwise(cumulative)), float(self.sum))


class _Tokens(BaseModel, strict=True):
    prompt: Amount | None = None
    generation: Amount | None = None


class ServingPeriod(BaseModel, strict=True):
    """One period. Counters are cumulative; None: not reported. Keys that are not known are ignored."""

    t_s: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    energy_j: Amount | None = None  # of all GPUs
    setting: Mhz | None = None  # applied clock lock; None: that of the last answer
    tokens: _Tokens | None = None
    requests: Amount | None = None
    engine_steps: Amount | None = None
    running: Amount | None = None
    waiting: Amount | None = None
    drafts: Amount | None = None
    accepted: Amount | None = None
    ttft: _Histogram | None = None
    itl: _Histogram | None = None
    tpot: _Histogram | None = None

    def counters(self, boot_ns: int) -> WorkCounters:
        """The agent's form of it."""
        itl, tokens = self.itl.latencies() if self.itl is not None else None, self.tokens or _Tokens()
        return WorkCounters(
            boot_ns,
            tokens=_whole(tokens.generation),
            queue=_whole(self.waiting),
            latency_sum_s=itl.sum_s if itl is not None else None,
            latency_count=itl.count if itl is not None else None,
            prompt_tokens=_whole(tokens.prompt),
            requests=_whole(self.requests),
            running=_whole(self.running),
            ttft=self.ttft.latencies() if self.ttft is not None else None,
            itl=itl,
            tpot=self.tpot.latencies() if self.tpot is not None else None,
        )


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)


class ServingSession:
    """A policy at one plant."""

    def __init__(self, policy: DvfsPolicy, start: ServingStart) -> None:
        self._policy, self._start, self._terms = policy, start, start.terms()
        self._settings = sorted(set(start.settings))
        # The plant's own range is the range of the search, whatever the GPU.
        knee = Knee(GROUP, (GROUP,), self._settings[0], "assumed", "lowest setting of the first line")
        stale_s = max(5.0, _STALE_PERIODS * start.period_s)
        self._config: Any = policy.configure({"stale_s": stale_s} if "stale_s" in policy.options else {}, (knee,))
        self._state: Any = policy.start()
        self._setting = self._settings[-1]
        self._last_s = -1.0

    def reply(self, period: ServingPeriod) -> dict[str, object]:
        """The setting for the next period, and why.

        Raises:
            UsageError: time goes backwards.
        """
        if period.t_s <= self._last_s:
            raise UsageError(f"t_s: expected more than {self._last_s:g}, got {period.t_s:g}")
        self._last_s = period.t_s
        decision, self._state = self._policy.decide(self._observation(period), self._state, self._config)
        if decision.action == "set":
            wanted = max(setting.sm_clock_max_mhz or self._settings[-1] for setting in decision.settings.values())
            # Between two settings the higher one: a lower one might miss a limit.
            self._setting = next((mhz for mhz in self._settings if mhz >= wanted), self._settings[-1])
        elif decision.action == "release":
            self._setting = self._settings[-1]
        return {"setting": self._setting, "reason": decision.reason}

    def _observation(self, period: ServingPeriod) -> Observation:
        now, top = _START_NS + round(period.t_s * _NS), self._settings[-1]
        lock = period.setting if period.setting is not None else self._setting
        energy_uj = None if period.energy_j is None else round(period.energy_j * 1e6 / self._start.gpus)
        devices = tuple(
            DeviceObservation(
                f"{GROUP}-{n}", GROUP, now, sm_clock_mhz=lock, event_reasons=0, energy_uj=energy_uj, sm_clock_max_mhz=top
            )
            for n in range(self._start.gpus)
        )
        return Observation(
            GROUP,
            now,
            devices,
            period.counters(now),
            progress_expected=True,
            workload=GROUP,
            open_arrivals=True,
            terms=self._terms,
            clocks_mhz=tuple(self._settings),
            in_force={} if lock >= top else {device.uuid: Setting(sm_clock_max_mhz=lock) for device in devices},
        )


def replies(policy: DvfsPolicy, lines: JsonLines) -> Iterator[str]:
    """One line out for each period in, as it comes.

    Raises:
        UsageError: a line that is not of the protocol; names its number.
    """
    start = lines.read(ServingStart)
    if start is None:
        return
    session = ServingSession(policy, start)
    while (period := lines.read(ServingPeriod)) is not None:
        try:
            yield json.dumps(session.reply(period))
        except (UsageError, ValueError, ArithmeticError) as error:
            raise UsageError(f"line {lines.number}: {error}") from None
