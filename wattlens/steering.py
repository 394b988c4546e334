"""Steering: hands each snapshot to the governor in a thread of its own, so that a slow actuator never delays the ledger."""

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from dvfs.client import default_socket
from dvfs.governor import Governor
from dvfs.types import Mode, Observation
from energy_agent.config_dvfs import Dvfs
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.snapshot import DvfsDevice, Snapshot
from energy_agent.core.types import Action, SourceHealth
from energy_agent.holders.node_note import NodeNote
from energy_agent.token_poller import TokenPoller
from energy_agent.training_intake import TrainingIntake
from wattlens.steering_asks import Asks
from wattlens.steering_groups import Ranks, Steered, automatic, named
from wattlens.steering_history import ActuatorRows
from wattlens.steering_parts import make_governor
from wattlens.steering_terms import annotated, said, strictest, terms_of
from wattlens.steering_told import told
from wattlens.steering_view import device_observation, progress_of, ranks_of

log = logging.getLogger("wattlens.dvfs")
OTHERS = "(others)"
"""The group of all devices that nobody steers: a budget of the node has to know what they may draw."""


class Steering:
    """The governor's thread. `give` never waits; `take` returns what has been done since."""

    def __init__(
        self,
        config: Dvfs,
        clock: Clock,
        tokens: TokenPoller,
        state: Path,
        training: TrainingIntake | None = None,
        node_note: NodeNote | None = None,
    ) -> None:
        """Build the governor; raises UsageError for a policy or option that does not exist.

        `node_note` tells the node's own annotation, where an API server may be asked.
        """
        self._config, self._clock, self._tokens, self._training = config, clock, tokens, training
        self._node_note = node_note
        self.asks = Asks(clock)
        self._savings_file = state / "savings.json"
        self._savings_text = ""
        self._governor: Governor = make_governor(config, clock)
        socket = config.actuator or default_socket()
        self._rows = ActuatorRows(socket, state) if config.mode == "enforce" else None
        self._fresh = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._actions: list[Action] = []
        self._views: tuple[DvfsDevice, ...] = ()
        self._reasons: dict[str, str] = {}
        self._notes: dict[str, str] = {}  # what is wrong with annotations, by workload
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="steering", daemon=True)
        self._thread.start()

    def __call__(self, snapshot: Snapshot) -> tuple[list[Action], tuple[DvfsDevice, ...]]:
        """Hand over a snapshot; what came of the earlier ones."""
        with self._fresh:
            self._snapshot = snapshot
            self._fresh.notify()
            actions, self._actions = self._actions, []
            return actions, self._views

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether each group can be steered, and why not; none before the first GPU is known."""
        with self._fresh:
            reasons, notes = dict(self._reasons), dict(self._notes)
        return (
            *(SourceHealth(f"dvfs:{name}", not reason, "", reason) for name, reason in reasons.items()),
            *(SourceHealth(f"annotations:{name}#dvfs", False, "", wrong) for name, wrong in notes.items()),
        )

    def told(self, workload: str) -> dict[str, object]:
        """How the devices of a workload are steered, for its own processes."""
        with self._fresh:
            views, reasons = self._views, dict(self._reasons)
        return told(workload, views, reasons, self.asks.of(workload))

    def asked(self, workload: str, body: object) -> None:
        """Take what a workload asks for its own devices; raises UsageError."""
        self.asks.take(workload, body)

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
                if self._rows is not None:
                    self._rows.close()
                return
            assert snapshot is not None
            actions = self._governor.step(self._observe(snapshot))
            self._publish(actions + (self._rows.fetch() if self._rows is not None else []))
            self._write_savings()

    def _publish(self, actions: list[Action]) -> None:
        for action in actions:
            log.info("%s %s: %s %s (%s)", action.device, action.action, action.setting, action.outcome, action.policy)
        with self._fresh:
            self._actions += actions
            self._views = self._governor.views()

    # Observations.

    def _observe(self, snapshot: Snapshot) -> list[Observation]:
        groups = named(self._config.groups, snapshot)
        ranks: dict[str, Ranks] = {}
        if self._config.auto_groups:
            taken = frozenset(v.info.uuid for group in groups for v in group.devices)
            workloads = {w for holders in snapshot.holders.values() for w in holders}
            ranks = {w: job for w in workloads if (job := ranks_of(self._training, w, self._leads(w))) is not None}
            groups += automatic(snapshot, taken, ranks)
        facts = {fact.workload: dict(fact.labels) for fact in snapshot.facts}
        wrong: dict[str, str] = {}
        observations = []
        reasons = {}
        for group in groups:
            made, reason = self._one(group, facts, wrong)
            if group.devices or reason:
                reasons[group.name] = reason
            if made is not None and not reason:
                observations.append(made)
        self._tell(reasons, wrong)
        if self._config.budget_w is not None:
            observations.append(self._others(snapshot, observations))
        return observations

    def _one(
        self, group: Steered, facts: Mapping[str, Mapping[str, str]], wrong: dict[str, str]
    ) -> tuple[Observation | None, str]:
        """What is seen of a group, and why it is not steered."""
        if group.reason or not group.devices:
            return None, group.reason
        now_ns = self._clock.boot_ns()
        own = [] if group.configured is None else [said(group.configured)]
        note = [annotated(text)] if (text := self._note()) else []
        asks = {w: self.asks.of(w) for w in group.workloads}
        found = {}
        for workload in group.workloads or ("",):
            words = [*own, *note]
            found[workload], problem = terms_of(self._config, words, facts.get(workload, {}), workload, self._clock.utc_ns())
            if problem:
                wrong[workload] = problem
        terms = strictest(list(found.values()))
        ask = next((a for a in asks.values() if a is not None and a.setting is not None), None)
        if ask is not None and self._config.policy == "auto":
            terms = replace(terms, policies=("asked",))
        if group.shared_with and terms.mode is not Mode.OBSERVE and not terms.shared:
            others = ", ".join(group.shared_with[:4])
            return None, f"not steered: its GPUs are shared with {others}, and not all agree (dvfs: shared: true)"
        workload = group.workloads[0] if group.workloads else ""
        configured = group.configured
        return (
            Observation(
                group.name,
                now_ns,
                tuple(device_observation(view, now_ns) for view in group.devices),
                progress_of(workload, self._tokens, self._training, self._clock) if workload else None,
                progress_expected=bool(workload),
                workload=workload,
                members=group.workloads,
                open_arrivals=configured is not None and configured.arrivals == "open",
                terms=terms,
                asked=None if ask is None else ask.setting,
            ),
            "",
        )

    def _others(self, snapshot: Snapshot, observations: Iterable[Observation]) -> Observation:
        steered = {d.uuid for o in observations for d in o.devices}
        now_ns = self._clock.boot_ns()
        rest = (view for view in snapshot.devices if view.info.uuid not in steered)
        return Observation(OTHERS, now_ns, tuple(device_observation(view, now_ns) for view in rest))

    def _leads(self, workload: str) -> bool:
        ask = self.asks.of(workload)
        return ask is not None and (ask.lead or ask.setting is not None)

    def _note(self) -> str:
        """The node's annotation, where it can be read; one that is wrong stops everything, and it is said."""
        text = self._node_note.text() if self._node_note is not None else ""
        try:
            if text:
                annotated(text)
        except UsageError as error:
            if self._notes.get("node") != str(error):
                log.warning("node: %s", error)
            return "off"
        return text

    def _tell(self, reasons: Mapping[str, str], wrong: Mapping[str, str]) -> None:
        """Remember why groups are not steered, and log each change once."""
        with self._fresh:
            before, self._reasons = self._reasons, dict(reasons)
            noted, self._notes = self._notes, dict(wrong)
        for name, reason in reasons.items():
            if reason and reason != before.get(name):
                log.warning("group %s: %s", name, reason)
            elif not reason and before.get(name):
                log.info("group %s: ok", name)
        for name, problem in wrong.items():
            if noted.get(name) != problem:
                log.warning("%s: %s", name, problem)

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
