"""Steering: hands each snapshot to the governor in a thread of its own, so that a slow actuator never delays the ledger."""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import dvfs.policies
from dvfs import knees
from dvfs.client import ActuatorClient, default_socket
from dvfs.governor import Governor, GovernorConfig
from dvfs.savings import blocks
from dvfs.types import DeviceObservation, Mode, Observation, Policy, Progress
from energy_agent.config import Dvfs, DvfsGroup
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.snapshot import DeviceView, DvfsDevice, Snapshot
from energy_agent.core.types import Action, SourceHealth
from energy_agent.token_poller import TokenPoller
from wattlens.steering_groups import Members, members

log = logging.getLogger("wattlens.dvfs")


class Steering:
    """The governor's thread. `give` never waits; `take` returns what has been done since."""

    def __init__(self, config: Dvfs, clock: Clock, tokens: TokenPoller, state: Path) -> None:
        """Build the governor; raises UsageError for a policy or option that does not exist."""
        self._config = config
        self._clock = clock
        self._tokens = tokens
        self._savings_file = state / "savings.json"
        self._savings_text = ""
        self._governor = _governor(config, clock)
        self._fresh = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._actions: list[Action] = []
        self._views: tuple[DvfsDevice, ...] = ()
        self._reasons: dict[str, str] = {}  # of the agent's thread alone
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="steering", daemon=True)
        self._thread.start()

    def __call__(self, snapshot: Snapshot) -> tuple[list[Action], tuple[DvfsDevice, ...]]:
        """Hand over a snapshot; what came of the earlier ones."""
        self._look(members(self._config.groups, snapshot))
        with self._fresh:
            self._snapshot = snapshot
            self._fresh.notify()
            actions, self._actions = self._actions, []
            return actions, self._views

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether each group can be steered, and why not; none before the first GPU is known."""
        return tuple(SourceHealth(f"dvfs:{name}", not reason, "", reason) for name, reason in self._reasons.items())

    def _look(self, found: Mapping[str, Members]) -> None:
        """Remember why groups are not steered, and log each change once."""
        for name, of in found.items():
            if not of.devices and not of.reason:
                continue
            if of.reason and of.reason != self._reasons.get(name):
                log.warning("group %s: %s", name, of.reason)
            elif not of.reason and self._reasons.get(name):
                log.info("group %s: ok", name)
            self._reasons[name] = of.reason

    def stop(self, within_s: float = 2.0) -> list[Action]:
        """Release everything and end; what is not done in time the actuator does when the lease ends."""
        with self._fresh:
            self._stopping = True
            self._fresh.notify()
        self._thread.join(within_s)
        with self._fresh:
            actions, self._actions = self._actions, []
            return actions

    def _run(self) -> None:
        while True:
            with self._fresh:
                while self._snapshot is None and not self._stopping:
                    self._fresh.wait()
                snapshot, self._snapshot = self._snapshot, None
                stopping = self._stopping
            if stopping:
                self._publish(self._governor.close())
                self._write_savings()
                return
            assert snapshot is not None
            self._publish(self._governor.step(self._observe(snapshot)))
            self._write_savings()

    def _publish(self, actions: list[Action]) -> None:
        for action in actions:
            log.info("%s %s: %s %s (%s)", action.device, action.action, action.setting, action.outcome, action.policy)
        with self._fresh:
            self._actions += actions
            self._views = self._governor.views()

    def _observe(self, snapshot: Snapshot) -> list[Observation]:
        observations = []
        found = members(self._config.groups, snapshot)
        for group in self._config.groups:
            of = found[group.name]
            if of.reason or not of.devices:
                continue  # a group is steered whole or not at all
            now_ns = self._clock.boot_ns()
            devices = tuple(_device(view, now_ns) for view in of.devices)
            observations.append(
                Observation(
                    group.name,
                    now_ns,
                    devices,
                    self._progress(group),
                    progress_expected=bool(group.workload),
                    workload=group.workload,
                    open_arrivals=group.arrivals == "open",
                )
            )
        return observations

    def _progress(self, group: DvfsGroup) -> Progress | None:
        reading = self._tokens.latest(group.workload) if group.workload else None
        if reading is None:
            return None
        boot_ns = self._clock.boot_ns() - (self._clock.utc_ns() - reading.t_ns)
        return Progress(
            boot_ns,
            tokens=reading.generation,
            queue=reading.waiting,
            latency_sum_s=reading.itl_sum_s,
            latency_count=reading.itl_count,
        )

    def _write_savings(self) -> None:
        """The verdict so far beside the journal, for reports, whenever it changes."""
        found = self._governor.savings()
        text = json.dumps({name: asdict(saving) for name, saving in found.items()}, indent=1, sort_keys=True)
        if not found or text == self._savings_text:
            return
        draft = self._savings_file.with_suffix(".new")
        try:
            draft.write_text(text)
            draft.replace(self._savings_file)
        except OSError as error:
            log.warning("%s: cannot write the savings: %s", self._savings_file, error.strerror)
            return  # a full disk must not end the steering; tried again with the next round
        self._savings_text = text


def _governor(config: Dvfs, clock: Clock) -> Governor:
    try:
        policy: Policy = plugin.load(dvfs.policies, config.policy)
    except LookupError:
        known = ", ".join(plugin.names(dvfs.policies))
        raise UsageError(f"key 'dvfs.policy': no policy {config.policy!r}; known: {known}") from None
    mode = Mode(config.mode)
    client = ActuatorClient(config.actuator or default_socket()) if mode is Mode.ENFORCE else None
    plan = config.blocks
    schedule = tuple(blocks(plan.seed, plan.pairs, plan.seconds, plan.settle_s)) if plan is not None else ()
    options = policy.configure(config.options, knees.load())
    return Governor(GovernorConfig(mode, config.policy, options, schedule), policy, client, clock)


def _device(view: DeviceView, now_ns: int) -> DeviceObservation:
    """What a policy sees of a device; one that does not answer stays in its group, with nothing known of it."""
    sample = view.sample
    if sample is None:
        return DeviceObservation(view.info.uuid, view.info.name, now_ns)
    return DeviceObservation(
        view.info.uuid,
        view.info.name,
        sample.boot_ns,
        sample.sm_clock_mhz,
        sample.power_mw,
        sample.power_limit_mw,
        sample.event_reasons,
        sample.gpu_percent,
        sum(view.energy_uj.values()) if view.energy_uj else None,
    )
