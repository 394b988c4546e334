"""The governor's state of a group: request of each policy, applied settings, and their effect."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dvfs.actuator.held_lease import HeldLease
from dvfs.governor.arbiter import settle
from dvfs.proof.experiment import EnergyReading
from dvfs.types import (
    THERMAL_REASONS,
    Decision,
    DeviceObservation,
    DvfsPolicy,
    Kind,
    Mode,
    Observation,
    Prediction,
    Setting,
    SteeringSettings,
)

log = logging.getLogger(__name__)

_FIRST = Decision("hold", "starting")
_FAILED = Decision("release", "policy_failed", steering=False)


@dataclass(frozen=True, slots=True)
class ConfiguredPolicy:
    """A policy with the configuration that its `configure` built from the user's options."""

    policy: DvfsPolicy
    config: Any = None


@dataclass(slots=True)
class DeviceHistory:
    """What the governor keeps of a device, whatever group has it."""

    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    ineffective: Counter[str] = field(default_factory=Counter)
    retry_ns: int = 0  # nothing is set before: a setting was refused, or another program has set the device
    permitted_mw: tuple[int | None, int | None] = None, None  # power limits that the actuator applied instead of others

    def learn_permitted(self, requested_mw: int | None, applied_mw: int | None) -> None:
        """Remember a power limit that the actuator raised to what it permits, or lowered to the original one."""
        if requested_mw is not None and applied_mw is not None and requested_mw != applied_mw:
            low, high = self.permitted_mw
            self.permitted_mw = (applied_mw, high) if applied_mw > requested_mw else (low, applied_mw)

    def limit_range(self, device: DeviceObservation) -> DeviceObservation:
        """`device` with the power limits that it can be set to; its present limit is one in any case."""
        if device.power_range_mw is None:
            return device
        low, high = (b if a is None else a for a, b in zip(self.permitted_mw, device.power_range_mw, strict=True))
        return replace(device, power_range_mw=(low, max(high, low, device.power_limit_mw or 0)))


@dataclass(slots=True)
class SteeredDevice:
    """One device of a group."""

    history: DeviceHistory
    applied: Setting | None = None  # applied under the lease, after the guard
    applied_ns: int = 0
    foreign_ns: int | None = None  # since when it shows another setting than this
    energy_uj: int | None = None


@dataclass(slots=True)
class PolicyState:
    """The last request of one policy that was not a hold."""

    kind: Kind
    state: Any
    settings: Mapping[str, Setting] = field(default_factory=dict)
    steering: bool = False
    promise: Prediction | None = None
    failed: str = ""  # why, where it did in its last round
    decision: Decision = _FIRST  # of its last round


@dataclass(slots=True)
class GovernedGroup:
    """All devices of a training job or inference engine."""

    workload: str = ""
    terms: SteeringSettings = field(default_factory=SteeringSettings)
    policies: dict[str, PolicyState] = field(default_factory=dict)
    wanted: Mapping[str, Setting] = field(default_factory=dict)  # the arbiter's result from all requests
    in_force: Mapping[str, Setting] = field(default_factory=dict)  # requested settings of the devices that are set
    paused: bool = False  # a block of a pair that is off
    lease: HeldLease | None = None
    retry_ns: int = 0  # delay of the last retry
    originals: dict[str, int] = field(default_factory=dict)  # original power limit of a device, mW
    originals_ns: int | None = None  # time of the actuator's last report of the originals
    status_ns: int = 0  # time of the next status request after one without a response
    refused: str = ""  # the last refusal that was logged
    devices: dict[str, SteeredDevice] = field(default_factory=dict)

    def postpone(self, retry_ns: int) -> None:
        """Set nothing before this time, even where a device passes to another group."""
        for device in self.devices.values():
            device.history.retry_ns = max(device.history.retry_ns, retry_ns)

    @property
    def steered(self) -> bool | None:
        """Whether a policy steers and its setting is applied; False in a control block; None if no policy steers."""
        if self.wanted != self.in_force or not any(w.steering for w in self.policies.values()):
            return None
        return not self.paused

    @property
    def wants(self) -> bool:
        """Whether any policy requests a setting."""
        return any(w.settings for w in self.policies.values())

    def decide(self, observation: Observation, configured: Mapping[str, ConfiguredPolicy]) -> None:
        """Run the existing policies of the group's settings."""
        names = [name for name in observation.terms.policies if name in configured]
        for gone in self.policies.keys() - set(names):
            del self.policies[gone]
        enforced = observation.terms.mode is Mode.ENFORCE
        originals = dict(self.originals) if enforced else None
        policy_input = replace(observation, enforced=enforced, in_force=self.in_force, original_limit_mw=originals)
        for name in names:
            policy, config = configured[name].policy, configured[name].config
            wanted = self.policies.setdefault(name, PolicyState(policy.kind, policy.start()))
            try:
                decision, wanted.state = policy.decide(policy_input, wanted.state, config)
                wanted.promise = None if enforced else policy.predict(wanted.state, config)
                wanted.failed = ""
            except Exception as error:  # an error in one policy must not end the steering of every other group
                if not wanted.failed:
                    log.exception(
                        "policy %s of group %s failed: the group is released and the policy restarts", name, observation.group
                    )
                decision, wanted.state, wanted.promise = _FAILED, policy.start(), None
                wanted.failed = f"{type(error).__name__}: {error}"[:200]
            if decision.action != "hold":
                wanted.settings = decision.settings
            wanted.steering = bool(wanted.settings) if decision.steering is None else decision.steering
            wanted.decision = decision

    def arbitrate(self, observation: Observation, caps_mw: Mapping[str, int], *, paused: bool) -> None:
        """Combine the requests: `caps_mw` are those of the node's budget; `paused`: policies do not count now."""
        hot = any((d.event_reasons or 0) & bit for d in observation.devices for bit in THERMAL_REASONS)
        policies = [] if paused else list(self.policies.values())
        self.paused, settings = paused, {}
        for one in observation.devices:
            caps = [cap_mw for cap_mw in (caps_mw.get(one.uuid), observation.terms.cap_mw) if cap_mw is not None]
            slo = [policy.settings.get(one.uuid, Setting()) for policy in policies if policy.kind == "slo"]
            efficiency = [policy.settings.get(one.uuid, Setting()) for policy in policies if policy.kind == "efficiency"]
            settings[one.uuid] = settle(hot=hot, caps_mw=caps, slo=slo, efficiency=efficiency)
        self.wanted = {uuid: setting for uuid, setting in settings.items() if setting != Setting()}

    def forget(self) -> None:
        """Forget what was decided, after the lease: policies restart."""
        self.policies.clear()
        self.wanted = {}

    def lose_lease(self) -> HeldLease | None:
        """Forget the lease and all settings applied under it; return the lease. Others may change the limits from now on."""
        lease, self.lease, self.in_force = self.lease, None, {}
        self.originals, self.originals_ns = {}, None
        for device in self.devices.values():
            device.applied = None
        return lease


def count(group: GovernedGroup, observation: Observation) -> tuple[EnergyReading | None, dict[str, int]]:
    """The energy of all devices of a group, None if one does not report it, and each device's increase under a setting."""
    gained, readings_uj = dict[str, int](), list[int]()
    for one in observation.devices:
        device = group.devices[one.uuid]
        if one.energy_uj is None:
            continue
        readings_uj.append(one.energy_uj)
        if device.applied is not None and device.energy_uj is not None:
            gained[one.uuid] = max(0, one.energy_uj - device.energy_uj)
        device.energy_uj = one.energy_uj
    whole = bool(readings_uj) and len(readings_uj) == len(observation.devices)
    return EnergyReading(max(d.boot_ns for d in observation.devices), sum(readings_uj)) if whole else None, gained
