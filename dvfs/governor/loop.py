"""The governor: runs the policies of each group and applies the setting that the arbiter chooses, if the group's mode permits.

The group is the unit of control: all its devices are set, or none. Requested and applied settings are stored separately, so the
governor retries a refused write after a while, and a release never waits. A group that is not observed is released.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ParamSpec

from dvfs.actuator.held_lease import Actuator, HeldLease
from dvfs.actuator.lease import NS
from dvfs.actuator.records.note import SettingNote
from dvfs.governor.effect import FOREIGN, PROBES, ineffective
from dvfs.governor.experiments import Experiments
from dvfs.governor.group import ConfiguredPolicy, DeviceHistory, GovernedGroup, PolicyState, SteeredDevice, count
from dvfs.governor.view import describe_device
from dvfs.proof.experiment import Round, Subject, work_of
from dvfs.proof.plan import ExperimentPlan
from dvfs.types import DeviceObservation, Mode, NodeBudget, Observation, Setting
from energy_agent.core.energy import Action
from energy_agent.core.errors import LeaseError
from energy_agent.core.ports import Clock
from energy_agent.core.proof import ProofRow
from energy_agent.core.snapshot import DvfsDevice

log = logging.getLogger(__name__)
P = ParamSpec("P")
BUDGET = "(budget)"
"""Under which name a failure of the node's budget is reported."""
PROOF = "(proof)"
"""Lines per round about the ends of experiments."""
_ABSENT = "the group was absent"
_RETRY_NS, _PATIENCE_NS = 5 * NS, 60 * NS  # after a refusal, then twice as long, at most the second
_RESPECT_NS = 900 * NS  # time for which devices that another program has set are left alone
_FOREIGN_NS = 3 * NS  # after this time with a different setting, another program has set it
_EFFECT_NS = 2 * NS  # delay before the effect of a setting is judged
_FOREIGN_CODES = frozenset({"foreign_change", "out_of_band"})


class Governor:
    """See the module. One thread calls it; the calls to the actuator block for as long as its client lets them."""

    def __init__(
        self,
        policies: Mapping[str, ConfiguredPolicy],
        client: Actuator | None,
        clock: Clock,
        states: Mapping[str, str] = MappingProxyType({}),
        *,
        budget: NodeBudget | None = None,
        plan: ExperimentPlan | None = None,
    ) -> None:
        """How to govern.

        Args:
            policies: by name.
            client: without one nothing is enforced, whatever the policy settings are.
            clock: of the node.
            states: of `take_proof`.
            budget: of the whole node.
            plan: of paired blocks; None: no experiments.
        """
        self._policies, self._budget = policies, budget
        self._client = client
        self._clock = clock
        self._groups: dict[str, GovernedGroup] = {}  # of the last round
        self._histories: dict[str, DeviceHistory] = {}  # of every device that a group ever had
        self._experiments = Experiments(plan, states, clock.boot_ns())
        self._budget_state = budget.start() if budget is not None else None
        self._actions: list[Action] = []
        self._caps_mw: Mapping[str, int] = {}
        self.unlimited: dict[str, str] = {}
        """Devices that count in the node's budget with what they can draw, and why."""
        self._within_ns = clock.boot_ns()  # when the power was last within the budget
        self._failing: dict[str, str] = {}  # in the round before
        self.failures: dict[str, str] = {}
        """What failed in the last round, by group; the budget under its own name. A group that failed is released."""

    def step(self, observations: Sequence[Observation]) -> list[Action]:
        """Run one round over all groups and return its refusals for the ledger; the actuator records applied settings.

        An error in one group releases that group and is among `failures`; the others continue.
        """
        now = self._clock.boot_ns()
        self._failing, self.failures = self.failures, {}
        self._guard(BUDGET, self._cap, observations)
        groups: dict[str, Observation] = {}
        for observation in observations:
            if groups.setdefault(observation.group, observation) is not observation:
                self.failures[observation.group] = "duplicate group name: only the first group is steered"
        # Lost devices are released before any group acquires one, and all others once the budget has lowered what is steered.
        steered = {d.uuid for o in groups.values() if o.terms.mode is Mode.ENFORCE for d in o.devices}
        gone = sorted(self._groups.keys() - groups.keys())
        unclaimed = [name for name in gone if steered.isdisjoint(self._groups[name].devices)]
        for name in gone:
            if name not in unclaimed:
                self._drop(name)
        for name, observation in groups.items():
            self._guard(name, self._note_observation, observation, now)
        for name, observation in sorted(groups.items(), key=lambda item: item[1].terms.mode is not Mode.ENFORCE):
            self._guard(name, self._steer, observation, now)
        for name in unclaimed:
            self._drop(name)
        self._guard(PROOF, self._experiments.end_absent, now, self._clock.utc_ns())
        for name, group in self._groups.items():
            self._guard(name, self._beat, group, now)
        actions, self._actions = self._actions, []
        return actions

    def close(self) -> list[Action]:
        """Release every lease. If the actuator is unreachable, the lease expires."""
        for name, group in self._groups.items():
            self._guard(name, self._let_go, group, "closing")
        actions, self._actions = self._actions, []
        return actions

    def _guard(self, name: str, call: Callable[P, None], *arguments: P.args, **keywords: P.kwargs) -> None:
        """Call; an error stops only the steering of group `name`."""
        try:
            call(*arguments, **keywords)
        except Exception as error:
            text = f"failed: {type(error).__name__}: {error}"[:200]
            if name not in self._failing:
                log.exception("group %s failed and is released", name)
            self.failures[name] = text
            if (group := self._groups.get(name)) is not None:
                self._abandon(group)

    def _abandon(self, group: GovernedGroup) -> None:
        """Release a group of which nothing is certain any more; it is tried again after a while."""
        group.postpone(self._clock.boot_ns() + _PATIENCE_NS)
        try:
            self._let_go(group, "failed")
        except Exception:
            log.exception("could not release a lease; it expires by itself")
        group.forget()

    def views(self) -> tuple[DvfsDevice, ...]:
        """Snapshot data, one entry per device: of its present group, with counters of all its groups."""
        claimed, lost = self._experiments.total_uj("claimed_uj"), self._experiments.total_uj("lost_uj")
        views = {}
        for uuid in sorted({*self._histories, *claimed, *lost}):
            past = self._histories.get(uuid, DeviceHistory())
            views[uuid] = DvfsDevice(
                uuid, Mode.OBSERVE.value, False, decisions=past.decisions, ineffective=past.ineffective,
                saved_uj=claimed.get(uuid), extra_uj=lost.get(uuid),
            )  # fmt: skip
        for name, group in self._groups.items():
            verdict, claimed_uj = self._experiments.verdict(name), self._experiments.total_uj("claimed_uj", name)
            for uuid in group.devices:
                views[uuid] = replace(describe_device(views[uuid], name, group, verdict), own_saved_uj=claimed_uj.get(uuid))
        return tuple(views.values())

    def policies(self) -> dict[str, dict[str, PolicyState]]:
        """State of each policy after the last round, by the group that it steers."""
        return {name: group.policies for name, group in self._groups.items()}

    def take_proof(self, *, everything: bool = False) -> tuple[list[ProofRow], dict[str, str]]:
        """Pairs and analyses since the last call, for the ledger, and the changed states of experiments, to resume from."""
        return self._experiments.take(self._clock.boot_ns(), everything=everything)

    # One group.

    def _drop(self, name: str) -> None:
        """End a group that is not observed any more."""
        self._experiments.interrupt(name, _ABSENT)
        self._guard(name, self._let_go, self._groups[name], "gone")
        del self._groups[name]

    def _note_observation(self, observation: Observation, now: int) -> None:
        group = self._groups.setdefault(observation.group, GovernedGroup())
        group.workload, group.terms = observation.workload, observation.terms
        if group.devices.keys() != {one.uuid for one in observation.devices}:
            # The group has other devices than in the round before: all are released, and policies and blocks restart.
            self._let_go(group, "regrouped")
            group.forget()
            uuids = [one.uuid for one in observation.devices]
            group.devices = {uuid: SteeredDevice(self._histories.setdefault(uuid, DeviceHistory())) for uuid in uuids}
            self._experiments.interrupt(observation.group, "other devices")
        energy, gained = count(group, observation)
        if group.terms.mode is not Mode.ENFORCE or not observation.is_provable:
            self._experiments.interrupt(observation.group, _ABSENT)
            return
        subject = Subject(observation.group, group.workload, "+".join(group.policies), observation.owner)
        current_round = Round(now, self._clock.utc_ns(), group.steered, gained, energy, work_of(observation.progress))
        self._experiments.feed(subject, current_round, open_arrivals=observation.open_arrivals, wants=group.wants)

    def _cap(self, observations: Sequence[Observation]) -> None:
        """Divide the node's budget among the devices; if the budget policy fails, the last caps stay."""
        if self._budget is None:
            return
        now, inputs = self._clock.boot_ns(), list[Observation]()
        self.unlimited = {}
        for one in observations:
            histories = {d.uuid: self._histories.get(d.uuid, DeviceHistory()) for d in one.devices}
            is_refused = any(now < history.retry_ns for history in histories.values())
            group = self._groups.get(one.group)
            why = "" if one.terms.mode is Mode.ENFORCE else f"mode {one.terms.mode.value}"
            why = why or (group.refused if group is not None else "") or ("refused" if is_refused else "")
            if self._client is not None:
                reasons = {d.uuid: why or ("" if d.power_range_mw else "unknown power limits") for d in one.devices}
                self.unlimited |= {uuid: reason for uuid, reason in reasons.items() if reason}
            terms = replace(one.terms, mode=Mode.OBSERVE) if is_refused else one.terms
            inputs.append(replace(one, terms=terms, devices=tuple(histories[d.uuid].limit_range(d) for d in one.devices)))
        self._caps_mw, self._budget_state = self._budget.decide(inputs, self._budget_state)
        # A lower bound: power that is not known counts as 0.
        total_mw = sum(d.power_mw or 0 for one in observations for d in one.devices)
        if self._client is None or total_mw <= self._budget.budget_mw:
            self._within_ns = now
        elif now - self._within_ns > _PATIENCE_NS:
            self.failures[BUDGET] = f"the GPUs draw {total_mw / 1000:g} W or more, above budget_w"

    def _steer(self, observation: Observation, now: int) -> None:
        group = self._groups[observation.group]
        if group.terms.mode is Mode.OBSERVE:
            self._let_go(group, "observe")
            group.forget()
            return
        if group.terms.mode is Mode.ENFORCE:
            self._learn_originals(group, observation, now)
        group.decide(observation, self._policies)
        paused = self._experiments.is_paused(observation.group)
        for name, policy in group.policies.items():
            if policy.failed:
                self.failures[observation.group] = f"policy {name} failed: {policy.failed}"
            action, reason = policy.decision.action, policy.decision.reason
            if paused and group.wants:
                action, reason = "hold", "block_off"
            for device in group.devices.values():
                device.history.decisions[name, action, reason] += 1
        group.arbitrate(observation, self._caps_mw, paused=paused)
        if group.terms.mode is Mode.ENFORCE:
            decisions = [policy.decision for policy in group.policies.values()]
            reason = "block_off" if paused else next((d.reason for d in decisions if d.action != "hold"), "arbiter")
            names = "+".join(group.policies) or "governor"
            if group.wanted and not group.wants:  # no policy: a power limit of the owners
                names, reason = "budget" if group.wanted.keys() & self._caps_mw.keys() else "cap_w", "power_limit"
            self._enforce(group, now, SettingNote(names, reason, group.workload))
        else:
            self._let_go(group, group.terms.mode.value)
        is_probe = any(policy.decision.reason in PROBES for policy in group.policies.values())
        foreign = [one for one in observation.devices if self._is_foreign(group.devices[one.uuid], one, is_probe=is_probe)]
        if foreign:
            self._let_go(group, "foreign_change")
            group.postpone(now + _RESPECT_NS)

    def _learn_originals(self, group: GovernedGroup, observation: Observation, now: int) -> None:
        """The original power limits: from the actuator's record, otherwise from a later reading."""
        unknown = [one for one in observation.devices if one.uuid not in group.originals]
        if self._client is None or not unknown or group.lease is not None:
            return
        if group.originals_ns is None:
            if now < group.status_ns:
                return
            try:
                rows = self._client.status().devices
            except LeaseError:  # the first request of a setting fails too, and is logged
                group.status_ns = now + _RETRY_NS
                return
            group.originals_ns = now
            kept = {str(row.get("device")): row.get("original_power_limit_mw") for row in rows}
            group.originals |= {one.uuid: mw for one in unknown if isinstance(mw := kept.get(one.uuid), int)}
        for one in unknown:
            if one.power_limit_mw is not None and one.boot_ns > group.originals_ns:
                group.originals.setdefault(one.uuid, one.power_limit_mw)

    def _enforce(self, group: GovernedGroup, now: int, note: SettingNote) -> None:
        wanted, device = group.wanted, ""
        if self._client is None or wanted == group.in_force:
            return
        if wanted and any(now < device.history.retry_ns for device in group.devices.values()):  # a release never waits
            return
        try:
            if group.lease is None:
                group.lease = HeldLease(self._client, sorted(group.devices), now)
            for device in sorted(set(wanted) | set(group.in_force)):
                setting = wanted.get(device, Setting())
                if setting == group.in_force.get(device, Setting()):
                    continue
                effect = group.lease.set(device, setting, note)
                device_state = group.devices[device]
                device_state.history.learn_permitted(setting.power_limit_mw, effect.setting.power_limit_mw)
                device_state.applied, device_state.applied_ns = (effect.setting, now) if device in wanted else (None, now)
        except LeaseError as error:
            self._wait(group, now, error)
            if group.refused != (why := _why(error)):
                group.refused, where = why, device or "+".join(sorted(group.devices))
                first = next(iter(wanted.values()), Setting())  # where the lease of all is refused
                refused = wanted.get(device, Setting()) if device else first
                text = json.dumps(refused.as_json(), sort_keys=True, separators=(",", ":"))
                self._actions.append(Action(self._clock.utc_ns(), where, note.policy, "refuse", text, why, note.workload))
            self._let_go(group, "refused")
            return
        group.in_force, group.refused, group.retry_ns = dict(wanted), "", 0

    def _let_go(self, group: GovernedGroup, reason: str) -> None:
        """End the lease: the actuator restores, now or when it expires."""
        lease = group.lose_lease()
        if lease is None:
            return
        try:
            lease.release(reason)
        except LeaseError as error:
            log.warning(
                "%s: could not restore; the setting is restored when the lease expires: %s",
                "+".join(sorted(group.devices)),
                _why(error),
            )

    def _beat(self, group: GovernedGroup, now: int) -> None:
        if group.lease is None:
            return
        try:
            group.lease.renew(now)
        except LeaseError as error:
            self._wait(group, now, error)
            log.warning("%s: lost the lease: %s", "+".join(sorted(group.devices)), _why(error))
            group.lose_lease()

    def _wait(self, group: GovernedGroup, now: int, error: LeaseError) -> None:
        """Delay until the retry of a refused group: longer each time, and long if another program steers."""
        code = getattr(error, "code", "")
        group.retry_ns = _RETRY_NS if code == "unreachable" else min(_PATIENCE_NS, max(_RETRY_NS, 2 * group.retry_ns))
        group.postpone(now + (_RESPECT_NS if code in _FOREIGN_CODES else group.retry_ns))

    def _is_foreign(self, device: SteeredDevice, observation: DeviceObservation, *, is_probe: bool) -> bool:
        """Count time in which a setting has no effect; return whether another program has changed it."""
        old_enough = observation.boot_ns - device.applied_ns >= _EFFECT_NS
        why = ineffective(observation, device.applied) if device.applied is not None and old_enough else ""
        if why and (why in FOREIGN or not is_probe):
            device.history.ineffective[why] += 1
        if why not in FOREIGN:
            device.foreign_ns = None
        elif device.foreign_ns is None:
            device.foreign_ns = observation.boot_ns
        return device.foreign_ns is not None and observation.boot_ns - device.foreign_ns >= _FOREIGN_NS


def _why(error: LeaseError) -> str:
    code = getattr(error, "code", "")
    return f"{code}: {error}" if code else str(error)
