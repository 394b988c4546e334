"""The governor: asks the policy for each group and makes it so through the actuator, as far as the mode goes.

The group is the unit of control: all its devices are set, or none. What the policy wants and what is in force are kept apart,
so a refused write is tried again after a while, and a release never waits. A group that is not observed is released.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dvfs.block_meter import BlockMeter, progress_readings
from dvfs.client import Effect
from dvfs.effect import ineffective
from dvfs.lease import HEARTBEAT_S, NS, TTL_S
from dvfs.savings import Reading, Saving, Slot, estimate
from dvfs.types import Decision, DeviceObservation, Mode, Observation, Policy, Setting
from energy_agent.core.errors import LeaseError
from energy_agent.core.ports import Clock
from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.types import Action
from energy_agent.core.units import HZ_PER_MHZ, split_integer

_EDGE_NS = NS // 4
"""Blocks begin this long before a round, so that one that comes a little early does not switch a whole round late."""


class Actuator(Protocol):
    """What the governor needs of dvfs.client.ActuatorClient; every call may raise LeaseError."""

    def acquire(self, devices: Sequence[str], ttl_s: float = TTL_S) -> str: ...  # noqa: D102
    def set(self, lease: str, device: str, setting: Setting) -> Effect: ...  # noqa: D102
    def heartbeat(self, lease: str) -> None: ...  # noqa: D102
    def release(self, lease: str) -> list[tuple[str, str, str]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class GovernorConfig:
    """How to govern. `policy_config` is what the policy's `configure` made; `schedule` are paired blocks, empty for none."""

    mode: Mode
    policy: str
    policy_config: Any = None
    schedule: tuple[Slot, ...] = ()
    retry_s: float = 5.0  # after a refusal
    effect_s: float = 2.0  # a setting is judged from then on


@dataclass(slots=True)
class _Device:
    applied: Setting | None = None  # in force under the lease, after the guard
    applied_ns: int = 0
    energy_uj: int | None = None
    enforced_uj: int = 0
    saved_uj: int | None = None
    extra_uj: int | None = None
    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    ineffective: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Group:
    state: Any
    workload: str = ""
    wanted: Mapping[str, Setting] = field(default_factory=dict)
    in_force: Mapping[str, Setting] = field(default_factory=dict)  # what was asked for the devices that are set
    lease: str | None = None
    retry_ns: int = 0
    beat_ns: int = 0
    meter: BlockMeter | None = None
    verdict: Saving | None = None
    devices: dict[str, _Device] = field(default_factory=dict)


class Governor:
    """See the module. One thread calls it; the calls to the actuator block for as long as its client lets them."""

    def __init__(self, config: GovernorConfig, policy: Policy, client: Actuator | None, clock: Clock) -> None:
        """Remember the parts; `client` is needed in mode enforce only.

        Raises:
            ValueError: enforce without a client.
        """
        if config.mode is Mode.ENFORCE and client is None:
            raise ValueError("mode enforce needs an actuator client")
        self._config = config
        self._policy = policy
        self._client = client
        self._clock = clock
        self._groups: dict[str, _Group] = {}
        self._actions: list[Action] = []

    def step(self, observations: Sequence[Observation]) -> list[Action]:
        """One round over all groups; the changes of settings that came of it, for the ledger."""
        now = self._clock.boot_ns()
        seen = {o.group for o in observations}
        for observation in observations:
            group = self._groups.setdefault(observation.group, _Group(self._policy.start()))
            group.workload = observation.workload
            for one in observation.devices:
                group.devices.setdefault(one.uuid, _Device())
            self._account(group, observation)
            if self._config.mode is not Mode.OBSERVE:
                self._decide(group, observation, now)
        for group in (g for name, g in self._groups.items() if name not in seen):
            # Its counters and blocks stay: a hole of a second is no end.
            self._let_go(group, "gone")
            group.wanted, group.state = {}, self._policy.start()
            if group.meter is not None and not group.meter.done and group.meter.feed({}, now, on=False):
                self._conclude(group, group.meter)
        self._beat(now)
        actions, self._actions = self._actions, []
        return actions

    def close(self) -> list[Action]:
        """Release every lease; what the actuator could not be told it finds out by the lease's end."""
        for group in self._groups.values():
            self._let_go(group, "closing")
        actions, self._actions = self._actions, []
        return actions

    def views(self) -> tuple[DvfsDevice, ...]:
        """What a snapshot shows, by device."""
        return tuple(
            DvfsDevice(
                uuid,
                self._config.mode.value,
                group.lease is not None,
                _shown(device.applied),
                dict(device.decisions),
                dict(device.ineffective),
                device.saved_uj,
                device.extra_uj,
            )
            for group in self._groups.values()
            for uuid, device in group.devices.items()
        )

    def savings(self) -> dict[str, Saving]:
        """The verdict on each group that has a schedule of paired blocks, as of now; final once the schedule is over."""
        return {
            name: group.verdict or _verdict(group, group.meter)
            for name, group in self._groups.items()
            if group.meter is not None
        }

    # One group.

    def _decide(self, group: _Group, observation: Observation, now: int) -> None:
        decision, group.state = self._policy.decide(observation, group.state, self._config.policy_config)
        if decision.action != "hold":
            group.wanted = decision.settings
        if group.meter is None and group.wanted and self._config.schedule:
            group.meter = BlockMeter(self._config.schedule, now - _EDGE_NS, open_arrivals=observation.open_arrivals)
        slot = group.meter.slot(now) if group.meter else None
        wanted = group.wanted
        if slot is not None and not slot.on and group.wanted:
            wanted, decision = {}, Decision("hold", "block_off")
        for device in group.devices.values():
            device.decisions[self._config.policy, decision.action, decision.reason] += 1
        if self._config.mode is Mode.ENFORCE:
            self._enforce(group, wanted, now, decision.reason)
        for one in observation.devices:
            self._judge(group.devices[one.uuid], one, now)

    def _enforce(self, group: _Group, wanted: Mapping[str, Setting], now: int, reason: str) -> None:
        if wanted == group.in_force:
            return
        if not wanted:
            self._undo(group, reason)
            return
        if now < group.retry_ns or self._client is None:
            return
        device = ""
        try:
            if group.lease is None:
                group.lease, group.beat_ns = self._client.acquire(sorted(group.devices)), now
            for device, setting in sorted(wanted.items()):
                effect = self._client.set(group.lease, device, setting)
                group.devices[device].applied, group.devices[device].applied_ns = effect.setting, now
                self._log(group, device, "set", setting, "ok")
        except LeaseError as error:
            group.retry_ns = now + int(self._config.retry_s * NS)
            self._log(group, device or "+".join(sorted(group.devices)), "refuse", wanted.get(device, Setting()), _why(error))
            self._let_go(group, "refused")
            return
        group.in_force = dict(wanted)

    def _undo(self, group: _Group, reason: str) -> None:
        """Back to what was found, under the same lease."""
        try:
            for uuid, device in group.devices.items():
                if device.applied is not None and group.lease is not None and self._client is not None:
                    self._client.set(group.lease, uuid, Setting())
                    self._log(group, uuid, "restore", Setting(), f"ok: {reason}")
                    device.applied = None
            group.in_force = {}
        except LeaseError as error:
            self._log(group, "+".join(sorted(group.devices)), "refuse", Setting(), _why(error))
            self._let_go(group, "undo_failed")

    def _let_go(self, group: _Group, reason: str) -> None:
        """End the lease: the actuator restores, now or when it expires."""
        lease, group.lease, group.in_force = group.lease, None, {}
        changed = [uuid for uuid, device in group.devices.items() if device.applied is not None]
        for uuid in changed:
            group.devices[uuid].applied = None
        if lease is None or self._client is None:
            return
        outcome = f"ok: {reason}"
        try:
            self._client.release(lease)
        except LeaseError as error:
            outcome = f"left to the lease's end: {_why(error)}"
        for uuid in changed:
            self._log(group, uuid, "restore", Setting(), outcome)

    def _beat(self, now: int) -> None:
        for group in self._groups.values():
            if group.lease is None or self._client is None or now - group.beat_ns < HEARTBEAT_S * NS:
                continue
            try:
                self._client.heartbeat(group.lease)
                group.beat_ns = now
            except LeaseError as error:
                group.retry_ns = now + int(self._config.retry_s * NS)
                for uuid, device in group.devices.items():
                    if device.applied is not None:
                        self._log(group, uuid, "expire", Setting(), _why(error))
                        device.applied = None
                group.lease, group.in_force = None, {}

    def _judge(self, device: _Device, seen: DeviceObservation, now: int) -> None:
        old_enough = seen.boot_ns - device.applied_ns >= self._config.effect_s * NS
        if device.applied is not None and old_enough and (why := ineffective(seen, device.applied)):
            device.ineffective[why] += 1

    # Savings.

    def _account(self, group: _Group, observation: Observation) -> None:
        energies = []
        for one in observation.devices:
            device = group.devices[one.uuid]
            gained = 0
            if one.energy_uj is not None:
                gained = max(0, one.energy_uj - device.energy_uj) if device.energy_uj is not None else 0
                device.energy_uj = one.energy_uj
                energies.append(one.energy_uj)
            if device.applied is not None:
                device.enforced_uj += gained
                self._book(group, device, gained)
        if group.meter is None or group.meter.done:
            return
        readings = progress_readings(observation.progress)
        if energies and len(energies) == len(observation.devices):
            readings["energy_uj"] = Reading(max(d.boot_ns for d in observation.devices), sum(energies))
        if group.meter.feed(readings, observation.boot_ns, bool(group.in_force)):
            self._conclude(group, group.meter)

    def _conclude(self, group: _Group, meter: BlockMeter) -> None:
        """The schedule is over: book what is proven so far, once; from now on by the proven ratio, so counters never fall."""
        enforced = [d.enforced_uj for d in group.devices.values()]
        group.verdict = _verdict(group, meter)
        if group.verdict.reason:
            return
        saved, extra = split_integer(group.verdict.claimable_uj, enforced), split_integer(group.verdict.extra_uj, enforced)
        for device, saved_uj, extra_uj in zip(group.devices.values(), saved, extra, strict=True):
            device.saved_uj, device.extra_uj = saved_uj, extra_uj

    def _book(self, group: _Group, device: _Device, gained_uj: int) -> None:
        saving = group.verdict.saving_ratio if group.verdict else None
        if saving is None or device.saved_uj is None or device.extra_uj is None:
            return
        # saving = 1 - exp(d), so energy saved per energy spent is exp(-d) - 1 = saving / (1 - saving).
        if saving.low > 0:
            device.saved_uj += int(gained_uj * saving.low / (1 - saving.low))
        elif saving.value < 0:
            device.extra_uj += int(gained_uj * -saving.value / (1 - saving.value))

    def _log(self, group: _Group, device: str, action: str, setting: Setting, outcome: str) -> None:
        text = json.dumps(setting.as_json(), sort_keys=True, separators=(",", ":"))
        self._actions.append(Action(self._clock.utc_ns(), device, self._config.policy, action, text, outcome, group.workload))


def _verdict(group: _Group, meter: BlockMeter) -> Saving:
    return replace(estimate(meter.blocks, sum(d.enforced_uj for d in group.devices.values())), spoiled=meter.spoiled)


def _shown(setting: Setting | None) -> dict[str, int]:
    if setting is None:
        return {}
    shown = {}
    if setting.sm_clock_max_mhz is not None:
        shown["sm_clock_max_hertz"] = setting.sm_clock_max_mhz * HZ_PER_MHZ
    if setting.power_limit_mw is not None:
        shown["power_limit_milliwatts"] = setting.power_limit_mw
    return shown


def _why(error: LeaseError) -> str:
    code = getattr(error, "code", "")
    return f"{code}: {error}" if code else str(error)
