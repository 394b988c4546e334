"""Turn sweeps into batches for the journal and, after each commit, into a snapshot.

A snapshot is published only after its commit: every value of /metrics is in the journal, so a counter never falls, whichever
process is killed. While the journal cannot be written, the rows wait in memory; the next successful commit has all of them.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import replace

from energy_agent.accounting.device import DeviceAccount, SensorFor
from energy_agent.accounting.node import NodeAccount
from energy_agent.accounting.pending import Pending
from energy_agent.accounting.recent_workloads import RETENTION_NS, RecentWorkloads
from energy_agent.accounting.share_policies import SharePolicyLabels
from energy_agent.accounting.token_totals import TokenTotalsStore
from energy_agent.accounting.totals import RecordedTotals
from energy_agent.accounting.training_intake import TOLD, TrainingBatch
from energy_agent.accounting.training_phases import lasting, phase_rows
from energy_agent.accounting.views import STUCK, device_view, with_host
from energy_agent.core.boundary import JOURNAL_LOST, UNBOUNDED, is_gpu
from energy_agent.core.energy import DeviceInfo, DeviceSample, Entry, Gap, Identity, Method, SourceHealth, Tokens, WorkloadFacts
from energy_agent.core.meters.difference import energy_uj, gap_of
from energy_agent.core.meters.reading import MeterReading
from energy_agent.core.proof import SteeringRows
from energy_agent.core.saved_state import ONLY, UNREADABLE, Component, States, apply_changes, copy_states, find_changes
from energy_agent.core.snapshot import LedgerStats, Snapshot
from energy_agent.core.workloads.job_identity import tenant_of
from energy_agent.core.workloads.tokens import TokenTotals
from energy_agent.ledger.journal.journal import Batch, DeviceFacts, Totals
from energy_agent.ledger.journal.recovery import lost_devices
from energy_agent.ledger.rows.cells import time_rows
from energy_agent.owners.processes import ProcessOwners
from energy_agent.owners.resolver import OwnerResolver
from energy_agent.reader.supervisor import DeviceHealth

log = logging.getLogger("wattlens.accounting")
FORGET_EVERY = 64  # snapshots between looking for processes and workloads that have ended
FORGET_MAX = 5_000
"""Workloads that leave with one commit."""
_COMPLETE = (Component.ENDED_WORKLOADS, Component.ENDED_ENDPOINTS)
"""Components of which `batch` has every state: others that are stored are removed."""


class Accountant:
    """Keeps every device's account and the totals that /metrics shows."""

    def __init__(
        self,
        identity: Identity,
        owners: ProcessOwners,
        sensor_for: SensorFor,
        gain_uncertainty: Mapping[str, float],
        default_gain_uncertainty: float,
        node: NodeAccount | None = None,
        joined: OwnerResolver | None = None,
        retention_ns: int = RETENTION_NS,
    ) -> None:
        self._node = node
        self.joined = joined or OwnerResolver()
        self._identity = identity
        self._owners = owners
        self._sensor_for = sensor_for
        self._gain = gain_uncertainty
        self._default_gain = default_gain_uncertainty
        self._accounts: dict[str, DeviceAccount] = {}
        self._pending = Pending()
        self._recorded = RecordedTotals()
        self._served = TokenTotalsStore()
        self._last_held = RecentWorkloads(retention_ns)
        self._present = RecentWorkloads(retention_ns)  # workloads with recent metadata or token counts
        self._leaving: list[str] = []
        self._facts: dict[str, WorkloadFacts] = {}
        self._shares = SharePolicyLabels()
        self._sequence = 0
        self._now_ns = 0
        self._source_states: dict[str, dict[str, str]] = {}  # of other components, for the next commit
        self._training_labels: dict[str, dict[str, str]] = {}  # labels that a training workload said of itself
        self._doing: Mapping[str, str] = {}  # phases of training workloads that are not taking steps, at the last commit
        self._phases: Mapping[str, str] = {}  # and those that last since the one before
        self._changed: States = {}  # states of the batch that waits
        self._stored: dict[str, dict[str, str]] = {}  # states as the journal has them
        self._meters: dict[str, str] = {}  # states of devices in the batch that waits
        self._committed_meters: dict[str, str] = {}
        self._recorded_infos: dict[str, DeviceInfo] = {}
        self._faults: dict[str, str] = {}  # devices whose last reading could not be recorded, with the reason
        self._committed_events: dict[str, tuple[dict[str, int], dict[int, int]]] = {}  # committed event times and XIDs
        self._lost: dict[str, int] = {}  # devices whose last reading the journal lost -> end of their last row, UTC ns

    def restore(self, states: States, totals: Totals, facts: Iterable[WorkloadFacts], now_ns: int) -> list[str]:
        """Restore the last commit; returns names of the states that cannot be read: their components start empty.

        Workloads that held a device at the last commit count as seen now: the next process list shows whether they still run.
        Those that had ended by then stay for the rest of their retention.
        """

        def texts(component: Component) -> Mapping[str, str]:
            return states.get(component, {})

        unreadable, self._stored = list[str](), copy_states(states)
        self._lost = lost_devices(states)
        history = sorted(facts, key=lambda fact: fact.since_ns)
        self._facts = {fact.workload: fact for fact in history}
        self._training_labels = {
            w: labels for w, f in self._facts.items() if (labels := {k: f.labels[k] for k in TOLD if k in f.labels})
        }
        for uuid, text in texts(Component.METERS).items():
            try:
                info = texts(Component.GPU_INFO).get(uuid, "")
                account = self._accounts[uuid] = DeviceAccount.restore(text, info, self._sensor_for)
                self._committed_meters[uuid] = text
                self._committed_events[uuid] = (dict(account.event_ns), dict(account.xid))
                self._last_held.see(account.booked_to, now_ns)
            except ValueError:
                unreadable.append(uuid)
        try:
            self._restore_node()
        except UNREADABLE:
            unreadable.append("the node")
            del self._stored[Component.NODE]  # nothing to go back to
        try:
            self._last_held.restore(texts(Component.ENDED_WORKLOADS), now_ns)
        except UNREADABLE:
            unreadable.append("ended workloads")
        unreadable += self._served.restore(texts(Component.TOKENS), texts(Component.ENDED_ENDPOINTS))
        try:
            self._recorded = RecordedTotals.of(totals, history, texts(Component.ENDED_ENERGY))
        except UNREADABLE:
            unreadable.append("energy of ended workloads by namespace and owner")
            self._recorded = RecordedTotals.of(totals, history, {})
        self.joined.restore(self._facts.values())
        self._owners.restore(self._facts)
        return unreadable

    def set_sensors(self, sensor_for: SensorFor, gain_uncertainty: Mapping[str, float], default_gain: float) -> None:
        """Assume something else of the boards' sensors from the next reading on; what is recorded stays as it was recorded."""
        self._sensor_for, self._gain, self._default_gain = sensor_for, gain_uncertainty, default_gain
        if self._node is not None:
            self._node.set_gpu_gain(max([default_gain, *gain_uncertainty.values()]))
        for account in self._accounts.values():
            account.sensor = sensor_for(account.info)
            self._describe(account.info)

    def feed(self, samples: Iterable[DeviceSample], infos: Mapping[str, DeviceInfo]) -> bool:
        """Record one sweep. Returns True when an owner has ended, so that the caller lists the processes again."""
        processes: set[tuple[int, int]] = set()
        samples = tuple(samples)
        self.joined.look(max((sample.boot_ns for sample in samples), default=0))
        for sample in samples:
            account = self._account(sample.uuid, infos)
            if account is None:
                continue
            anchor = account.anchor
            try:
                self._feed(account, sample)
            except Exception as error:  # one device's defect costs no other its energy
                account.go_back(anchor)  # so that its next reading closes this time too
                if sample.uuid not in self._faults:
                    log.exception("cannot record a reading of %s", sample.uuid)
                self._faults[sample.uuid] = f"cannot record its reading: {type(error).__name__}"
                continue
            self._faults.pop(sample.uuid, None)
            if not sample.fast:  # once per second, whatever the period
                processes.update(account.owners.processes)
        return any(self._owners.has_no_process(pid) for pid, _ in processes)

    def _feed(self, account: DeviceAccount, sample: DeviceSample) -> None:
        """Record one reading."""
        account.count_events(sample)  # whatever else fails: no later reading brings them again
        owners, facts = self.joined.of_sample(sample, self._owners)
        account.owners = account.owners if owners is None else owners
        self._learn(facts)
        self._last_held.see(account.held_by, sample.t_ns)
        method = Method.COUNTER if sample.energy_mj is not None else Method.INTEGRATED
        for workload in account.held_by if sample.metered else ():
            self._recorded.see(sample.uuid, workload, method)
        since_ns = self._lost.get(sample.uuid) if account.meter is None else None
        scope = account.counter_scope
        entries, gap = account.feed(sample, self._identity.boot_id)
        if account.counter_scope is not scope:
            self._describe(account.info)
        if owners is not None:
            changed = self._shares.update(sample.uuid, account.policy, account.held_by)
            self._learn([replace(self._facts[w], since_ns=sample.t_ns) for w in changed if w in self._facts])
        if sample.uuid not in self._committed_meters:
            self._committed_meters[sample.uuid] = account.dump()  # its first reading: from there on nothing may be lost
        if self._node is not None:
            hole = gap  # the host is what its meter counts beyond the GPUs: it needs some bound of theirs
            if gap is not None and gap.reason.startswith(UNBOUNDED):
                hole = replace(gap, bound_uj=energy_uj(account.sensor.power_max_mw, gap.end_ns - gap.start_ns))
            self._node.gpu(sample.uuid, sample.boot_ns, entries or account.unmetered, hole)
        for entry in entries:
            self._pending.add(entry)
        for entry in account.unmetered:
            self._pending.add_time(entry)
        if gap is not None:
            self._add_gap(gap)
        if since_ns is not None:  # no energy: what the counter showed at `since_ns` is unknown, so rows may already have it
            max_mw, tick_ns = account.sensor.power_max_mw, account.sensor.tick_ns
            self._add_gap(gap_of(sample.uuid, since_ns, sample.t_ns, max_mw, JOURNAL_LOST, age_ns=tick_ns))

    def _add_gap(self, gap: Gap) -> None:
        """Record a gap; the commit that has that of a lost journal also removes the state that asks for it."""
        self._pending.add_gap(gap)
        if gap.reason.endswith(JOURNAL_LOST):
            self._lost.pop(gap.device, None)
            self._take({Component.LOST_READINGS: {gap.device: ""}})

    def add_node(
        self,
        readings: Iterable[tuple[str, tuple[MeterReading, ...]]],
        now_ns: int,
        now_boot_ns: int,
        gpus: Set[str],
    ) -> dict[str, str]:
        """Record the readings of the node's meters up to the time for which these GPUs are recorded.

        Returns:
            The meters whose last interval was rejected, with the reason.
        """
        if self._node is None:
            return {}
        within_gpus = any(a.counter_scope.of_module for a in self._accounts.values())
        for source, rows in readings:
            self._pending.devices += self._node.feed(source, rows, within_gpus=within_gpus)
        entries, gaps = self._node.settle(now_boot_ns, gpus)
        self._pending.entries += entries
        for gap in gaps + self._node.unseen(now_ns, now_boot_ns):
            self._add_gap(gap)
        return self._node.faults

    def _restore_node(self) -> None:
        if self._node is not None:
            meters = {u: a.meter for u, a in self._accounts.items() if a.meter is not None}
            recorded_ns = {u: m.boot_ns for u, m in meters.items() if m.boot_id == self._identity.boot_id}
            self._node.lost = {
                device: since_ns for device, since_ns in lost_devices(self._stored).items() if not is_gpu(device)
            }
            self._node.restore(self._stored.get(Component.NODE, {}).get(ONLY, ""), recorded_ns)

    def add_tokens(self, tokens: Iterable[Tokens], states: Mapping[str, str], served: Iterable[TokenTotals] = ()) -> None:
        """Book tokens, where the counters stood that they came from, and what all pages that are read did so far."""
        self._pending.tokens.extend(tokens)
        changed = [self._facts[w] for w in self._served.add(served) if w in self._facts]
        self._present.see(self._served.polled(), max(self._now_ns, self._served.said_ns))
        self._learn(replace(fact, since_ns=max(fact.since_ns, self._served.said_ns)) for fact in changed)
        self._take({Component.TOKENS: states})

    def add_training(self, recorded: TrainingBatch) -> None:
        """Record steps and trained tokens, and what their workloads said of themselves, with the counts they came from."""
        self._pending.steps.extend(recorded.steps)
        self._pending.tokens.extend(recorded.tokens)
        self._phases, self._doing = lasting(self._doing, recorded.phases), recorded.phases
        self._take(recorded.states)
        for workload, labels in recorded.labels.items():
            self._training_labels[workload] = {name: value for name, value in labels.items() if value}
            if workload in self._facts:
                self._learn([replace(self._facts[workload], since_ns=recorded.t_ns)])

    def unmetered_workloads(self) -> set[str]:
        """Workloads that hold a device without a sensor now."""
        return {workload for account in self._accounts.values() if account.unmetered for workload in account.held_by}

    def recent_workloads(self) -> set[str]:
        """Workloads that hold a device, or did so within the retention."""
        return self._last_held.names()

    def add_steering(self, done: SteeringRows) -> None:
        """Record what was set and refused and what is proven of it, with the states that steering goes on from."""
        self._pending.actions.extend(done.actions)
        self._pending.proof.extend(done.proof)
        self._take({Component.STEERING: done.states})

    def steering_states(self) -> dict[str, str]:
        """The states of steering as they were handed over last, committed or not."""
        stored, waiting = (states.get(Component.STEERING, {}) for states in (self._stored, self._source_states))
        return {key: text for key, text in (stored | waiting).items() if text}

    def _take(self, states: States) -> None:
        """Commit these states with the next batch."""
        for component, texts in states.items():
            self._source_states.setdefault(component, {}).update(texts)

    def batch(self) -> Batch:
        """Everything since the last commit, with the states to go on from."""
        p = self._pending
        self._leaving = self._find_leaving()
        self._meters = {uuid: account.dump() for uuid, account in self._accounts.items()}
        states: dict[str, Mapping[str, str]] = {
            **self._source_states,
            Component.METERS: self._meters,
            Component.GPU_INFO: {
                u: a.dump_info() for u, a in self._accounts.items() if self._recorded_infos.get(u) is not a.info
            },
            Component.ENDED_WORKLOADS: self._last_held.dump({w for a in self._accounts.values() for w in a.booked_to}),
            Component.ENDED_ENDPOINTS: self._served.dump(),
            Component.ENDED_ENERGY: self._recorded.states_without(self._leaving),
        }
        if self._node is not None:
            states[Component.NODE] = {ONLY: self._node.dump()}
        self._changed = find_changes(self._stored, states, _COMPLETE)
        ended = dict.fromkeys(self._leaving, self._now_ns)
        rows = [*p.proof, *phase_rows(p.entries, self._phases), *time_rows(p.times)]
        return Batch(p.entries, p.gaps, p.tokens, p.actions, p.facts, p.devices, self._changed, p.steps, ended, rows)

    def _find_leaving(self) -> list[str]:
        """Workloads that are not there any more and have nothing that waits for a commit: looked for every now and then."""
        if self._sequence % FORGET_EVERY != FORGET_EVERY - 1:
            return []
        p = self._pending
        kept = self._last_held.names() | self._present.names() | self._owners.workloads()
        kept |= {row.workload for rows in (p.entries, p.times, p.tokens, p.steps, p.facts) for row in rows}
        return [workload for workload in self._recorded.workloads() if workload not in kept][:FORGET_MAX]

    def not_committed(self) -> None:
        """The journal could not be written. The rows wait; when they are too many, the readings themselves are let go.

        From the last committed reading the counter bridges to the next one, so that no joule is lost and memory stays bounded.
        """
        if not self._pending.let_go():
            return
        for uuid, account in self._accounts.items():
            if uuid in self._committed_meters:
                account.step_back(self._committed_meters[uuid])
        # A meter of the node goes back to its last commit. Before its first one, the gap of the lost journal is still open.
        for device in {gap.device for gap in self._pending.gaps if not is_gpu(gap.device)}:
            del self._source_states[Component.LOST_READINGS][device]
        self._pending.gaps = [gap for gap in self._pending.gaps if is_gpu(gap.device)]
        self._restore_node()

    def committed(self) -> list[Entry]:
        """The batch is in the journal: now it counts. Returns its entries."""
        p, self._pending = self._pending, Pending()
        self._committed_meters, self._source_states = self._meters, {}
        if self._node is not None:
            self._node.committed()
        self._recorded_infos = {uuid: account.info for uuid, account in self._accounts.items()}
        self._committed_events = {u: (dict(a.event_ns), dict(a.xid)) for u, a in self._accounts.items()}
        for workload in self._recorded.find_full(p.tokens, p.steps):
            log.warning("tokens or steps of %s exceed the maximum of the ledger: the count stays at 2^63 - 1", workload)
        self._served.committed()
        apply_changes(self._stored, self._changed)
        self._forget(self._leaving)
        return p.entries

    def _forget(self, workloads: Collection[str]) -> None:
        self._recorded.forget()
        self._served.forget(workloads)
        for workload in workloads:
            self._facts.pop(workload, None)
            self._training_labels.pop(workload, None)

    def set_retention(self, retention_ns: int) -> None:
        """Keep workloads that have ended for another time from now on."""
        self._last_held.retention_ns = self._present.retention_ns = retention_ns

    def snapshot(
        self,
        now_ns: int,
        health: Mapping[str, DeviceHealth],
        sources: tuple[SourceHealth, ...],
        ledger: LedgerStats,
    ) -> Snapshot:
        """What the accounts know of a snapshot: the committed totals and the latest readings of devices that answer."""
        self._sequence += 1
        if self._sequence % FORGET_EVERY == 0:
            self._owners.forget_dead()
            self.joined.forget(self._owners.workloads())
        self._now_ns = now_ns
        self._present.forget_ended(now_ns, owner=self._owner)
        holding = {w for account in self._accounts.values() for w in account.held_by}
        recent = self._last_held.forget_ended(now_ns, holding, self._owner)
        recorded = self._recorded.sums()
        unmetered = {u for u, a in self._accounts.items() if a.sample is not None and not a.sample.metered}
        up = {uuid for uuid, h in health.items() if h.up} - unmetered
        devices = tuple(
            device_view(a, health.get(u), recorded, self._committed_events, self._gain.get(u, self._default_gain))
            for u, a in sorted(self._accounts.items(), key=_by_index)
        )
        snapshot = Snapshot(
            sequence=self._sequence,
            t_ns=now_ns,
            identity=self._identity,
            devices=devices,
            workloads=tuple(recorded.energy(recent, up)),
            workload_gpu_ns=recorded.gpu_ns(recent),
            namespace_uj=recorded.namespace_uj,
            owner_uj=recorded.owner_uj,
            tokens=(tokens := tuple(recorded.tokens(recent))),
            served=self._served.totals({count.workload for count in tokens}),
            steps=tuple(recorded.steps(recent)),
            owners={u: tuple(a.owners.holding.weights) for u, a in self._accounts.items() if a.owners.holding is not None},
            facts=tuple(self._facts[w] for w in recent if w in self._facts),
            health=tuple(self._with_sensor(source) for source in sources),
            ledger=ledger,
        )
        if self._node is None:
            return snapshot
        return with_host(snapshot, recorded, recent, self._node.views({s.source for s in sources if s.up}), self._node.gains)

    def _owner(self, workload: str) -> str:
        """Who has chosen its name, as far as the kernel or a scheduler says it."""
        fact = self._facts.get(workload)
        return "" if fact is None else tenant_of(fact.kind, fact.labels)

    def _account(self, uuid: str, infos: Mapping[str, DeviceInfo]) -> DeviceAccount | None:
        account = self._accounts.get(uuid)
        info = infos.get(uuid)
        if account is None:
            if info is None:
                return None  # not described yet: the next hello brings it
            account = self._accounts[uuid] = DeviceAccount(info, self._sensor_for(info))
            self._describe(info)
        elif info is not None and info != account.info:
            account.info, account.sensor = info, self._sensor_for(info)
            self._describe(info)
        return account

    def _describe(self, info: DeviceInfo) -> None:
        gain = self._gain.get(info.uuid, self._default_gain)
        scope = self._accounts[info.uuid].counter_scope
        self._pending.devices.append(DeviceFacts(info.uuid, info.name, gain, 0, scope))

    def _learn(self, facts: Iterable[WorkloadFacts]) -> None:
        for fact in self._served.labelled(facts):
            self._present.see((fact.workload,), fact.since_ns)
            if fact.workload in self._training_labels:
                fact = replace(fact, labels={**fact.labels, **self._training_labels[fact.workload]})
            previous = self._facts.get(fact.workload)
            fact = self._shares.apply(fact, previous)
            if previous is not None and (namespace := previous.labels.get("namespace")):  # the first stays, as its energy does
                fact = replace(fact, labels={**fact.labels, "namespace": namespace})
            if previous is None or previous.labels != fact.labels:
                self._facts[fact.workload] = fact
                self._recorded.learn(fact)
                self._pending.facts.append(fact)

    def _with_sensor(self, source: SourceHealth) -> SourceHealth:
        """Report a device as down while its sensor is stuck or its readings cannot be recorded."""
        account = self._accounts.get(source.device)
        fault = self._faults.get(source.device, STUCK if account is not None and account.blind else "")
        return replace(source, up=False, reason=fault) if source.up and fault else source


def _by_index(item: tuple[str, DeviceAccount]) -> tuple[int, str]:
    return item[1].info.index, item[0]
