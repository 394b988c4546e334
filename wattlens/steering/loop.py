"""Steering: hands each snapshot to the governor in a thread of its own, so that a slow actuator never delays the ledger."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from dvfs.actuator.client import default_socket
from dvfs.actuator.lease import NS, TTL_S
from dvfs.governor.loop import Governor
from dvfs.governor.view import setting_values
from dvfs.types import Mode, Observation
from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.config.dvfs import Dvfs
from energy_agent.core.energy import Action, SourceHealth
from energy_agent.core.ports import Clock
from energy_agent.core.proof import ProofRow, SteeringRows
from energy_agent.core.snapshot import DvfsDevice, Snapshot
from energy_agent.core.steering import GroupStatus
from energy_agent.core.units import UJ_PER_J
from energy_agent.owners.kubernetes.node_annotation import NodeNote
from energy_agent.owners.lone_processes import is_shared
from energy_agent.runtime.threads import start_thread
from energy_agent.tokens.poller import TokenPoller
from wattlens.steering.actuator_history import ActuatorRows
from wattlens.steering.build import make_governor
from wattlens.steering.group_records import GroupRecords
from wattlens.steering.group_text import describe_groups, interval_json, plain_setting
from wattlens.steering.groups import OTHERS, SteeringGroup
from wattlens.steering.observer import Observer, describe
from wattlens.steering.requests import SteeringRequest, SteeringRequests

log = logging.getLogger("wattlens.dvfs")
T = TypeVar("T")
HISTORY = "history"
"""The key of how far the actuator's history was read."""


def with_exempt(
    views: Sequence[DvfsDevice], groups: Sequence[SteeringGroup], unlimited: Mapping[str, str] = MappingProxyType({})
) -> tuple[DvfsDevice, ...]:
    """The views, and one of each device that is not steered by design or not limited by the node's budget, with the reason."""
    by_device = {view.device: view for view in views}
    for group in groups:
        for uuid in (view.info.uuid for view in group.devices) if group.exempt else ():
            view = by_device.get(uuid) or DvfsDevice(uuid, Mode.OBSERVE.value, lease_active=False)
            by_device[uuid] = replace(view, exempt=(group.name, group.exempt.removeprefix("not steered: ")))
    for uuid, why in unlimited.items():
        view = by_device.get(uuid) or DvfsDevice(uuid, Mode.OBSERVE.value, lease_active=False)
        group_name, reason = view.exempt or (view.facts.get("group", OTHERS), why)
        by_device[uuid] = replace(view, exempt=(group_name, f"{reason}; budget_w counts its whole power limit"))
    return tuple(view for _, view in sorted(by_device.items()))


def describe_steering(
    workload: str,
    views: Sequence[DvfsDevice],
    users: Mapping[str, Sequence[str]],
    groups: Sequence[SteeringGroup],
    ask: SteeringRequest | None,
) -> dict[str, object]:
    """Steering status of a workload's GPUs, as returned by GET /v1/dvfs.

    `mode` is that of the group; `reason` says why it is not steered. A device's `setting` is applied under the actuator's
    lease; `wanted` is the setting that the policy requests, and the only one in mode shadow. `slowdown` is the ratio that the
    steering policy settings allow.
    """
    devices = {uuid for uuid, workloads in users.items() if workload and not is_shared(workload) and workload in workloads}
    steered_views = [view for view in views if view.device in devices and view.facts.get("group", OTHERS) != OTHERS]
    status: dict[str, object] = {"workload": workload}
    reasons = (group.reason for group in groups if any(view.info.uuid in devices for view in group.devices))
    if reason := next(filter(None, reasons), ""):
        status["reason"] = reason
    elif not steered_views:
        status["reason"] = "no group of this workload is steered"
    if steered_views:
        first = steered_views[0]
        if first.mode == Mode.OBSERVE:
            status.setdefault("reason", "the mode is observe, as one of its owners set it or outside of a schedule")
        alone = all(len(users[view.device]) == 1 for view in steered_views)
        status |= {"mode": first.mode, "group": first.facts["group"] if alone else "", "policy": first.facts.get("policy", "")}
        if first.slowdown_ratio is not None:
            status["slowdown"] = first.slowdown_ratio
        status["devices"] = [
            {"uuid": view.device, "setting": plain_setting(view.setting), "wanted": plain_setting(view.wanted)}
            for view in steered_views
        ]
        if first.predicted is not None:
            status["predicted_saving"] = interval_json(first.predicted)
        saved = [view.own_saved_uj for view in steered_views if view.own_saved_uj is not None]
        if saved:
            status["saved_joules"] = sum(saved) / UJ_PER_J
    if ask is not None:
        status["asked"] = plain_setting(setting_values(ask.setting))
    return status


class Steering:
    """The governor's thread. A call hands over a snapshot, never waits, and returns what has been done since."""

    def __init__(
        self,
        config: Dvfs,
        clock: Clock,
        tokens: TokenPoller,
        training: TrainingReports | None = None,
        node_note: NodeNote | None = None,
        states: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Build the governor; raises UsageError for a policy or option that does not exist.

        `node_note` reads the node's own annotation, if the agent may query an API server; `states` are the last ones that an
        earlier process handed over.
        """
        self._clock = clock
        self.asks = SteeringRequests(clock)
        self._observer = Observer(config, clock, self.asks, tokens, training, node_note)
        proofs = {key: text for key, text in states.items() if key != HISTORY}
        self._governor: Governor = make_governor(config, clock, proofs)
        self._records = GroupRecords(clock)
        socket = config.actuator or default_socket()
        self._rows = ActuatorRows(socket, states.get(HISTORY, "")) if config.mode == "enforce" else None
        self._fresh = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._actions: list[Action] = []
        self._proof: list[ProofRow] = []
        self._states: dict[str, str] = {}  # that changed
        self._views: tuple[DvfsDevice, ...] = ()
        self._users: Mapping[str, tuple[str, ...]] = {}  # of each device, when the views were made
        self._groups: tuple[SteeringGroup, ...] = ()
        self._notes: Mapping[str, str] = {}  # what is wrong with annotations, by workload
        self._failures: dict[str, str] = {}  # of groups, and of the whole under ""
        self._round_ns = clock.boot_ns()  # when the last round ended
        self._ended = ""  # why there are no rounds any more
        self._failing: set[str] = set()  # what has failed and was logged
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="steering", daemon=True)
        start_thread(self._thread)

    def __call__(self, snapshot: Snapshot) -> tuple[SteeringRows, tuple[DvfsDevice, ...]]:
        """Hand over a snapshot; what came of the earlier ones."""
        with self._fresh:
            self._snapshot = snapshot
            self._fresh.notify()
            return self._take(), self._current()

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether each group can be steered, and what is wrong where it cannot; nothing before the first GPU is known.

        A group that is not steered by design is no fault: its devices' views have the reason.
        """
        with self._fresh:
            groups, notes, failures, stalled = self._groups, self._notes, dict(self._failures), self._stalled()
        whole = stalled or failures.pop("", "")
        faults = {group.name: group.fault for group in groups if not group.exempt} | failures
        return (
            *((SourceHealth("dvfs", False, "", whole),) if whole else ()),
            *(SourceHealth(f"dvfs:{name}", not fault, "", fault) for name, fault in faults.items()),
            *(SourceHealth(f"annotations:{name}#dvfs", False, "", wrong) for name, wrong in notes.items()),
        )

    def describe_steering(self, workload: str) -> dict[str, object]:
        """How the devices of a workload are steered, for its own processes."""
        with self._fresh:
            views, users, groups = self._current(), self._users, self._groups
        return describe_steering(workload, views, users, groups, self.asks.of(workload))

    def describe_groups(self) -> list[dict[str, object]]:
        """Status of all groups, for root and the agent's user."""
        with self._fresh:
            return describe_groups(self._current())

    def request_setting(self, workload: str, body: object, place: str = "") -> None:
        """Take what a workload asks for its own devices; raises UsageError. `place`: who shares its places on the socket."""
        self.asks.take(workload, body, place)

    def stop(self, within_s: float = 2.0) -> SteeringRows:
        """Release everything and end; what is not done in time the actuator does when the lease ends."""
        with self._fresh:
            self._stopping = True
            self._fresh.notify()
        self._thread.join(within_s)
        with self._fresh:
            return self._take()

    def _take(self) -> SteeringRows:
        """What has been done since the last call; under the lock."""
        done = SteeringRows(self._actions, self._proof, self._states)
        self._actions, self._proof, self._states = [], [], {}
        return done

    # The thread.

    def _run(self) -> None:
        try:
            while (snapshot := self._next()) is not None:
                self._round(snapshot)
        except BaseException as error:  # nothing above would say it
            log.exception("steering ends: all settings are released")
            with self._fresh:
                self._ended = f"steering has ended: {describe(error)}"
        finally:
            self._guarded("closing", self._close)

    def _next(self) -> Snapshot | None:
        """The snapshot to work on; None: the end."""
        with self._fresh:
            while self._snapshot is None and not self._stopping:
                self._fresh.wait()
            snapshot, self._snapshot = self._snapshot, None
            return None if self._stopping else snapshot

    def _round(self, snapshot: Snapshot) -> None:
        """One round. Whatever fails in it, nothing stays set on the word of a round that was not finished."""
        failures: dict[str, str] = {}
        observations: list[Observation] = []
        try:
            observations = self._observer.observe(snapshot)
            actions = self._governor.step(observations)
        except Exception as error:
            if not self._failures.get(""):
                log.exception("a round of steering failed: all settings are released")
            failures[""] = f"a round failed: {describe(error)}"
            actions = self._governor.close()
        failures |= self._observer.failures | self._governor.failures
        record = partial(self._records.add, observations, self._governor.policies(), actions)
        statuses = self._guarded("the status of groups", record) or {}
        self._publish(actions + self._read_rows(), snapshot.owners, failures, statuses)

    def _read_rows(self, *, now: bool = False) -> list[Action]:
        if self._rows is None:
            return []
        return self._guarded("reading the actuator's history", partial(self._rows.read, now=now)) or []

    def _close(self) -> None:
        self._publish(self._governor.close() + self._read_rows(now=True), {}, self._failures, ends=True)
        if self._rows is not None:
            self._rows.close()

    def _guarded(self, doing: str, call: Callable[[], T]) -> T | None:
        """Call, and log the first failure: a failed side task does not stop the steering."""
        try:
            return call()
        except Exception:
            if doing not in self._failing:
                self._failing.add(doing)
                log.exception("%s failed", doing)
            return None

    def _publish(
        self,
        actions: list[Action],
        users: Mapping[str, tuple[str, ...]],
        failures: Mapping[str, str],
        statuses: Mapping[str, GroupStatus] = MappingProxyType({}),
        *,
        ends: bool = False,
    ) -> None:
        for action in actions:
            log.info("%s %s: %s %s (%s)", action.device, action.action, action.setting, action.outcome, action.policy)
        groups, notes = self._observer.groups, self._observer.notes
        governed = self._governor.views()
        with_status = [replace(view, status=statuses.get(view.facts.get("group", ""))) for view in governed]
        views = with_exempt(with_status, groups, self._governor.unlimited)
        proof, states = self._guarded("the proof of savings", partial(self._governor.take_proof, everything=ends)) or ([], {})
        position = {HISTORY: self._rows.position} if self._rows is not None and self._rows.position else {}
        with self._fresh:
            self._actions += actions
            self._proof += proof
            self._states |= states | position
            self._views, self._users, self._groups, self._notes = views, users, groups, notes
            self._failures, self._round_ns = dict(failures), self._clock.boot_ns()

    def _stalled(self) -> str:
        """Why the last views say nothing of now; "" where they do."""
        age_s = (self._clock.boot_ns() - self._round_ns) / NS
        waits = self._snapshot is not None and age_s > TTL_S  # it has something to do, and its leases are over
        return self._ended or (f"no governor round has ended for {age_s:.0f} s: its leases have expired" if waits else "")

    def _current(self) -> tuple[DvfsDevice, ...]:
        """Return the devices, with no setting applied if the thread has ended or hangs."""
        if not self._stalled():
            return self._views
        return tuple(
            replace(view, mode=Mode.OBSERVE.value, lease_active=False, setting={}, wanted={}, status=None)
            for view in self._views
        )
