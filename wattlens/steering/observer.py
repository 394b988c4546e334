"""What the governor sees of the groups of a node: their GPUs, the terms of their owners, their progress and their requests."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dvfs.types import DeviceObservation, Mode, Observation, SteeringSettings, WorkCounters
from energy_agent.accounting.training_intake import Latest, TrainingReports
from energy_agent.config.dvfs import Dvfs, DvfsPolicySettings
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.snapshot import DeviceView, Snapshot
from energy_agent.core.workloads.training_report import TRAINING, is_local
from energy_agent.owners.kubernetes.node_annotation import NodeNote
from energy_agent.tokens.poller import TokenPoller
from wattlens.steering.change_limit import MINUTE_NS, ChangeLimit
from wattlens.steering.groups import FREE, OTHERS, JobRanks, SteeringGroup, automatic, named
from wattlens.steering.requests import SteeringRequests
from wattlens.steering.terms import OFF, annotated, merge_workloads, node_mode, terms_of

_NS = 1_000_000_000
log = logging.getLogger("wattlens.dvfs")


def device_observation(view: DeviceView, now_ns: int) -> DeviceObservation:
    """What a policy sees of a device; one that does not answer stays in its group, with nothing known of it."""
    info, sample = view.info, view.sample
    low, high = info.power_limit_min_mw, info.power_limit_max_mw
    limits = None if low is None or high is None else (low, high)
    if sample is None:
        return DeviceObservation(info.uuid, info.name, now_ns, power_range_mw=limits, sm_clock_max_mhz=info.sm_clock_max_mhz)
    return DeviceObservation(
        info.uuid,
        info.name,
        sample.boot_ns,
        sample.sm_clock_mhz,
        sample.power_mw,
        sample.power_limit_mw,
        sample.event_reasons,
        sample.gpu_percent,
        sum(view.energy_uj.values()) if view.energy_uj else None,
        limits,
        info.sm_clock_max_mhz,
    )


def progress_of(workload: str, tokens: TokenPoller, training: TrainingReports | None, clock: Clock) -> WorkCounters | None:
    """Return a workload's progress from its metrics endpoints, or from its training processes; None while neither has data."""
    reading = tokens.latest(workload)
    if reading is not None:
        itl = reading.itl
        return WorkCounters(
            reading.boot_ns,
            tokens=reading.generation,
            queue=reading.waiting,
            latency_sum_s=itl.sum_s if itl is not None and itl.is_sum_exact else None,
            latency_count=None if itl is None else itl.count,
            prompt_tokens=reading.computed,
            requests=reading.requests,
            running=reading.running,
            ttft=reading.ttft,
            itl=itl,
            tpot=reading.tpot,
        )
    # The rank whose counts are the job's here: the lowest that reports; its ranks take a step together.
    lead: Latest | None = next(iter(training.ranks(workload)), None) if training is not None else None
    if lead is None:
        return None
    report = lead.report
    second_s = clock.real_seconds(1.0) or 1.0  # on a simulated node that runs faster, ages are in the machine's time
    ended_ns = None if report.step_age_s is None else round(lead.at_boot_ns - report.step_age_s / second_s * _NS)
    steps, trained = report.steps.get(TRAINING, 0), report.tokens or None  # 0: the loop reports none
    return WorkCounters(lead.at_boot_ns, tokens=trained, steps=steps, step_end_ns=ended_ns, doing=report.doing)


def ranks_of(training: TrainingReports | None, workload: str, led: bool) -> JobRanks | None:
    """The training job of a workload; None where it reports none. `led`: its other nodes follow what is decided here."""
    if training is None:
        return None
    reported = training.ranks(workload)
    if not reported:
        return None
    here = frozenset(each.report.rank for each in reported)
    group = reported[0].report.group
    return JobRanks("" if is_local(group) else group, max(each.report.world for each in reported), here, led)


class Observer:
    """Used by one thread; what fails in one group leaves that group out."""

    def __init__(
        self,
        config: Dvfs,
        clock: Clock,
        asks: SteeringRequests,
        tokens: TokenPoller,
        training: TrainingReports | None = None,
        node_note: NodeNote | None = None,
    ) -> None:
        self._config, self._clock, self._asks = config, clock, asks
        self._tokens, self._training, self._node_note = tokens, training, node_note
        self._wrong_note = ""
        self._jobs = ChangeLimit[tuple[str, int]]()
        self._logged: dict[str, tuple[int, str]] = {}  # when which reason was logged, by what it is of
        self.groups: tuple[SteeringGroup, ...] = ()
        """All groups of the last snapshot that has any GPU of theirs."""
        self.notes: Mapping[str, str] = {}
        """What is wrong with annotations, by workload."""
        self.failures: dict[str, str] = {}
        """What failed, by group."""

    def observe(self, snapshot: Snapshot) -> list[Observation]:
        """What the governor sees of each group that can be steered; the rest is in `groups`, `notes` and `failures`."""
        failing, self.failures = self.failures, {}
        groups = named(self._config.groups, snapshot)
        if self._config.auto_groups:
            taken = frozenset(v.info.uuid for group in groups for v in group.devices)
            users = {w for workloads in snapshot.owners.values() for w in workloads}
            ranks = {w: job for w in users if (job := self._ranks(w)) is not None}
            groups += automatic(snapshot, taken, ranks, [group.name for group in self._config.groups])
        facts = {fact.workload: dict(fact.labels) for fact in snapshot.facts}
        wrong: dict[str, str] = {}
        observations = []
        steerable = []
        for group in groups:
            try:
                observation, exempt = self._one(group, facts, wrong)
            except Exception as error:
                if group.name not in failing:
                    log.exception("group %s cannot be observed: it is released", group.name)
                self.failures[group.name] = f"failed: {describe(error)}"
                observation, exempt = None, ""
            if group.devices or group.reason:
                steerable.append(replace(group, exempt=group.exempt or exempt))
            if observation is not None:
                observations.append(observation)
        self._tell(steerable, wrong)
        if self._config.budget_w is not None:
            observations += self._observe_rest(snapshot, observations)
        return observations

    def _one(
        self, group: SteeringGroup, facts: Mapping[str, Mapping[str, str]], wrong: dict[str, str]
    ) -> tuple[Observation | None, str]:
        """What is seen of a group, or why it is not steered."""
        if group.reason or not group.devices:
            return None, ""
        terms = self._terms(group, facts, wrong)
        if terms is None:
            return None, f"not steered: {len(group.sharers)} workloads use its GPUs and name different policies"
        group_workload = group.configured.workload if group.configured is not None else ""
        if group_workload and group.sharers and group_workload not in group.sharers and not terms.shared:
            return None, "not steered: another workload than the one that dvfs.groups names uses its GPUs"
        if group.sharers and terms.mode is not Mode.OBSERVE and not terms.shared:
            return None, f"not steered: {len(group.sharers)} workloads use its GPUs, and not all agree (dvfs: shared: true)"
        asked = self._asks.common(group.askers)
        if asked is not None and terms.is_auto:
            terms = replace(terms, policies=("asked",))
        now_ns = self._clock.boot_ns()
        workload, configured = group.measured, group.configured
        return (
            Observation(
                group.name,
                now_ns,
                tuple(device_observation(view, now_ns) for view in group.devices),
                progress_of(workload, self._tokens, self._training, self._clock) if workload else None,
                progress_expected=bool(workload),
                workload=workload,
                open_arrivals=configured is not None and configured.arrivals == "open",
                terms=terms,
                asked=asked,
                is_provable=not group.sharers,
                owner=group.owner or group.name,
            ),
            "",
        )

    def _terms(
        self, group: SteeringGroup, facts: Mapping[str, Mapping[str, str]], wrong: dict[str, str]
    ) -> SteeringSettings | None:
        """The terms of a group; None where several owners name different policies."""
        group_settings = [] if group.configured is None else [group.configured]
        note = self._note()
        all_terms = []
        for workload in group.workloads or ("",):
            labels = facts.get(workload, {})
            terms, problem = terms_of(self._config, group_settings, labels, workload, self._clock.utc_ns(), note)
            all_terms.append(terms)
            if problem:
                wrong[workload] = problem
        return merge_workloads(all_terms, same_owner=group.same_owner)

    def _observe_rest(self, snapshot: Snapshot, observations: Iterable[Observation]) -> list[Observation]:
        """Each device that is known to have no process, as a group of its own, and all others in one that is not steered."""
        steered = {d.uuid for o in observations for d in o.devices}
        now_ns, utc_ns = self._clock.boot_ns(), self._clock.utc_ns()
        mode = node_mode(self._config, utc_ns, self._note())
        free, others = list[Observation](), list[DeviceObservation]()
        for view in snapshot.devices:
            uuid, device = view.info.uuid, device_observation(view, now_ns)
            if uuid in steered:
                continue
            if snapshot.owners.get(uuid) == () and not view.info.mig_enabled:
                terms = SteeringSettings(mode)
                free.append(Observation(f"{FREE} {uuid}", now_ns, (device,), terms=terms, is_provable=False))
            else:
                others.append(device)
        return [*free, Observation(OTHERS, now_ns, tuple(others))]

    def _ranks(self, workload: str) -> JobRanks | None:
        """The training job of a workload, which is on its own while it names other jobs too often."""
        ask = self._asks.of(workload)
        ranks = ranks_of(self._training, workload, ask is not None and (ask.lead or ask.setting is not None))
        if ranks is None:
            return None
        now_ns = self._clock.boot_ns()
        job = (ranks.group, ranks.world)
        if self._jobs.settle(workload, job, now_ns) == job and self._jobs.is_settled(workload, now_ns):
            return ranks
        return replace(ranks, group="", settled=False)

    def _note(self) -> DvfsPolicySettings | None:
        """Return the terms of the node's annotation; None without one. An invalid one stops all steering, and is logged."""
        text = self._node_note.text() if self._node_note is not None else ""
        try:
            terms = annotated(text) if text else None
        except UsageError as error:
            if self._wrong_note != str(error):
                self._wrong_note = str(error)
                log.warning("node: %s", error)
            return OFF
        self._wrong_note = ""
        return terms

    def _tell(self, groups: Sequence[SteeringGroup], wrong: Mapping[str, str]) -> None:
        """Remember why groups are not steered, and log what changed: a line a minute for each at most."""
        self.groups, self.notes = tuple(groups), dict(wrong)
        reasons = {f"group {group.name}": (group.reason, bool(group.fault)) for group in groups}
        reasons |= {name: (problem, True) for name, problem in wrong.items()}
        now_ns = self._clock.boot_ns()
        for name, (reason, is_fault) in reasons.items():
            logged_ns, logged = self._logged.get(name, (None, ""))
            if reason != logged and (logged_ns is None or now_ns - logged_ns >= MINUTE_NS):
                self._logged[name] = now_ns, reason
                log.log(logging.WARNING if is_fault else logging.INFO, "%s: %s", name, reason or "ok")
        self._logged = {
            name: logged for name, logged in self._logged.items() if name in reasons or now_ns - logged[0] < MINUTE_NS
        }


def describe(error: BaseException) -> str:
    """An unexpected error in one line."""
    return f"{type(error).__name__}: {error}"[:200]
