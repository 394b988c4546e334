"""Records of steered groups for their users: last decisions, error budgets, and what mode shadow expects. Not control.

A policy without a model goes by the measured effect of its settings. In mode shadow nothing is applied, so it has no figure.
For a policy that requests a clock, latencies lie between two bounds: unchanged, or longer by the ratio of the highest clock to
the requested one, as if all time were compute. Both come from measured histograms. Longer queues are not included.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dvfs.governor.group import PolicyState
from dvfs.governor.view import setting_values
from dvfs.types import Mode, Observation, Setting, SteeringSettings, WorkCounters, no_prediction
from energy_agent.core.energy import Action
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.ports import Clock
from energy_agent.core.steering import BudgetStatus, GroupStatus, PolicyDecision, ShadowOutlook
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.error_budget import HOUR_NS, LatencyBudget, LatencyInterval, MissedShare
from energy_agent.core.workloads.tokens import Latencies
from wattlens.steering.build import specs
from wattlens.steering.group_text import shadow_json, shadow_lines

log = logging.getLogger("wattlens.dvfs")

_DECISIONS = 10
_FORGET_NS = 600 * NS_PER_S  # absence after which a group starts again
_STALE_NS = 10 * NS_PER_S  # age at which a reading counts as missing, ten periods of the poller
_BY_MEASUREMENT = "it goes by the measured effect of settings, and none is applied in mode shadow"


@dataclass(slots=True)
class _Shadow:
    since_ns: int
    policies: tuple[str, ...]
    energy_uj: int = 0
    missed: dict[tuple[str, str], MissedShare] = field(default_factory=dict)  # by policy and latency
    blind: dict[str, str] = field(default_factory=dict)  # why the effect of a policy's settings is not known
    is_logged: bool = False


@dataclass(slots=True)
class _GroupRecord:
    seen_ns: int = 0
    progress: WorkCounters | None = None
    energy_uj: int | None = None
    budgets: dict[str, LatencyBudget] = field(default_factory=dict)
    requested: dict[str, Mapping[str, Setting]] = field(default_factory=dict)  # by policy
    decisions: deque[PolicyDecision] = field(default_factory=lambda: deque(maxlen=_DECISIONS))
    shadow: _Shadow | None = None


class GroupRecords:
    """Records of the groups of a node. Used by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, _GroupRecord] = {}
        self._predicting = {name for name, spec in specs()[0].items() if spec.predict is not no_prediction}

    def add(
        self,
        observations: Iterable[Observation],
        policies: Mapping[str, Mapping[str, PolicyState]],
        refusals: Sequence[Action] = (),
    ) -> dict[str, GroupStatus]:
        """Add a round and return the status of its groups. `policies`: by group, after the round's decisions."""
        now_ns, utc_ns = self._clock.boot_ns(), self._clock.utc_ns()
        self._records = {name: r for name, r in self._records.items() if now_ns - r.seen_ns < _FORGET_NS}
        statuses = {}
        for observation in observations:
            record, states = self._records.setdefault(observation.group, _GroupRecord()), policies.get(observation.group, {})
            record.seen_ns = now_ns
            intervals = self._count(record, observation, now_ns)
            self._follow_shadow(record, observation, states, intervals, now_ns)
            self._note_decisions(record, observation, states, refusals, utc_ns)
            statuses[observation.group] = status = self._status(record, observation, states, now_ns, utc_ns)
            if record.shadow is not None and not record.shadow.is_logged and now_ns - record.shadow.since_ns >= HOUR_NS:
                record.shadow.is_logged = True
                for line in shadow_lines(shadow_json(status)):
                    log.info("group %s: %s", observation.group, line)
        return statuses

    def _count(self, record: _GroupRecord, observation: Observation, now_ns: int) -> dict[str, LatencyInterval]:
        """Add the new observations to the error budgets, and return them by latency."""
        before, progress = record.progress, observation.progress
        limits, intervals = _limits(observation.terms), {}
        record.budgets = {name: _of_limit(record.budgets.get(name), limit_s) for name, limit_s in limits.items()}
        if progress is None:
            return {}
        record.progress = progress
        if before is None or progress.boot_ns == before.boot_ns:
            return {}
        for name, limit_s in limits.items():
            (old, _), (new, is_mean) = _histogram(before, name), _histogram(progress, name)
            try:
                if old is not None and new is not None:
                    intervals[name] = LatencyInterval(limit_s, new.less(old), is_mean)
            except ValueError:  # other buckets than before
                continue
        first = (progress.ttft.count if progress.ttft else None, before.ttft.count if before.ttft else None)
        ended = (progress.requests, before.requests)
        now, then = first if None not in first else ended
        requests = max(0, now - then) if now is not None and then is not None else 0
        for name, interval in intervals.items():
            record.budgets[name] = record.budgets[name].add(interval, requests, now_ns)
        return intervals

    def _follow_shadow(
        self,
        record: _GroupRecord,
        observation: Observation,
        states: Mapping[str, PolicyState],
        intervals: Mapping[str, LatencyInterval],
        now_ns: int,
    ) -> None:
        """Count energy, and misses under the settings that each policy requested since the last round."""
        readings_uj = [device.energy_uj for device in observation.devices if device.energy_uj is not None]
        before, record.energy_uj = record.energy_uj, sum(readings_uj) if len(readings_uj) == len(observation.devices) else None
        if observation.terms.mode is not Mode.SHADOW:
            record.shadow = None
            return
        if record.shadow is None or record.shadow.policies != tuple(states):
            record.shadow = _Shadow(now_ns, tuple(states))
            return
        shadow = record.shadow
        if before is not None and record.energy_uj is not None:
            shadow.energy_uj += max(0, record.energy_uj - before)
        for policy in states:
            stretch = _stretch(observation, record.requested.get(policy, {}))
            if isinstance(stretch, str):
                shadow.blind[policy] = stretch
                continue
            for name, interval in intervals.items():
                more = MissedShare(interval.observations.count, interval.surely_missed(), interval.missed(stretch))
                shadow.missed[policy, name] = shadow.missed.get((policy, name), MissedShare()).plus(more)

    def _note_decisions(
        self,
        record: _GroupRecord,
        observation: Observation,
        states: Mapping[str, PolicyState],
        refusals: Sequence[Action],
        utc_ns: int,
    ) -> None:
        """Keep decisions that change what a policy requests, and refusals."""
        for name, state in states.items():
            if state.settings != record.requested.get(name, {}):
                decision = _decision(utc_ns, name, state)  # a hold here is a policy that restarted without its setting
                record.decisions.append(replace(decision, action="release") if decision.action == "hold" else decision)
        record.requested = {name: dict(state.settings) for name, state in states.items()}
        devices = {device.uuid for device in observation.devices}
        for action in refusals:
            if devices & set(action.device.split("+")):
                record.decisions.append(PolicyDecision(utc_ns, action.policy, action.action, action.outcome))

    def _status(
        self, record: _GroupRecord, observation: Observation, states: Mapping[str, PolicyState], now_ns: int, utc_ns: int
    ) -> GroupStatus:
        terms, shadow = observation.terms, record.shadow
        budgets = {
            name: BudgetStatus(
                budget.limit_s,
                terms.attainment_ratio,
                budget.total,
                {"requests": budget.of_requests(), "hour": budget.of_hour(now_ns)},
                _missing(observation, name, now_ns),
            )
            for name, budget in record.budgets.items()
        }
        return GroupStatus(
            tuple(_decision(utc_ns, name, state) for name, state in states.items()),
            tuple(record.decisions),
            budgets,
            {} if shadow is None else {name: self._outlook(shadow, name, state) for name, state in states.items()},
            0.0 if shadow is None else (now_ns - shadow.since_ns) / NS_PER_S,
            None if shadow is None or record.energy_uj is None else shadow.energy_uj,
        )

    def _outlook(self, shadow: _Shadow, name: str, state: PolicyState) -> ShadowOutlook:
        promise, reason = state.promise, state.decision.reason
        saving = None if promise is None else ConfidenceInterval(promise.saving_ratio, promise.low, promise.high)
        predicts = name in self._predicting
        if not predicts and not state.settings:
            why = _BY_MEASUREMENT if reason == "shadow" else f"it requests no setting ({reason})"
            return ShadowOutlook(None, why, {}, why)
        unknown = f"not enough is measured yet ({reason})" if predicts else "it has no model of energy"
        missed = {latency: share for (policy, latency), share in shadow.missed.items() if policy == name}
        blind = shadow.blind.get(name, "")
        return ShadowOutlook(saving, "" if saving else unknown, {} if blind else missed, blind)


def _limits(terms: SteeringSettings) -> dict[str, float]:
    limits = {"ttft": terms.ttft_s, "itl": terms.itl_s}
    return {name: limit_s for name, limit_s in limits.items() if limit_s is not None}


def _of_limit(budget: LatencyBudget | None, limit_s: float) -> LatencyBudget:
    return budget if budget is not None and budget.limit_s == limit_s else LatencyBudget(limit_s)


def _missing(observation: Observation, latency: str, now_ns: int) -> str:
    """Why a latency is not known now, "" if it is."""
    progress = observation.progress
    if progress is None and not observation.workload:
        return "the group names no workload (dvfs.groups)"
    if progress is None or now_ns - progress.boot_ns > _STALE_NS:
        return "no inference server responds"
    return "" if _histogram(progress, latency)[0] is not None else "the inference server has no histogram of this latency"


def _histogram(progress: WorkCounters, latency: str) -> tuple[Latencies | None, bool]:
    """The histogram of a latency, and whether it has single gaps of requests that are judged by their mean."""
    if latency == "itl" and progress.tpot is not None:
        return progress.tpot, False
    return (progress.itl, True) if latency == "itl" else (progress.ttft, False)


def _stretch(observation: Observation, settings: Mapping[str, Setting]) -> float | str:
    """How much longer compute takes under settings than at the highest clock; or why this is not known."""
    stretch = 1.0
    for device in observation.devices:
        setting = settings.get(device.uuid, Setting())
        if setting.power_limit_mw is not None:
            return "the clock under a power limit is not known"
        if setting.sm_clock_max_mhz is not None:
            if device.sm_clock_max_mhz is None:
                return "the highest clock of a GPU is not known"
            stretch = max(stretch, device.sm_clock_max_mhz / setting.sm_clock_max_mhz)
    return stretch


def _decision(utc_ns: int, policy: str, state: PolicyState) -> PolicyDecision:
    clocks = [s.sm_clock_max_mhz for s in state.settings.values() if s.sm_clock_max_mhz is not None]
    powers = [s.power_limit_mw for s in state.settings.values() if s.power_limit_mw is not None]
    setting = setting_values(Setting(min(clocks, default=None), min(powers, default=None)))
    return PolicyDecision(utc_ns, policy, state.decision.action, state.decision.reason, setting)
