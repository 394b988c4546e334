"""The agent's loop: sweep, record, commit, publish, seal. It survives every failure of its parts.

One thread owns the accounts and the journal. Scrapes read the last snapshot from other threads and never wait for it.
"""

import gc
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.config.agent import Config
from energy_agent.core.energy import DeviceSample, Entry, Identity, SourceHealth
from energy_agent.core.errors import JournalError, WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.proof import SteeringRows
from energy_agent.core.snapshot import DvfsDevice, ProcessCost, Snapshot
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal.journal import Journal
from energy_agent.node.inference_pods import ServingPods
from energy_agent.node.release import RELEASE_FILE, is_requested
from energy_agent.owners.kubernetes.node_annotation import NodeNote
from energy_agent.owners.processes import ProcessOwners
from energy_agent.reader.supervisor import ReaderSupervisor
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.loop import FaultContainment, Flag, Reload, UtcOrder, Wake
from energy_agent.runtime.meter_poller import MeterPoller
from energy_agent.runtime.process_cost import cost_of
from energy_agent.tokens.energy_per_token import EnergyPerToken
from energy_agent.tokens.poller import TokenPoller
from energy_agent.tokens.price_hours import PriceHours, SensorError

log = logging.getLogger("wattlens.agent")

DEADLINE_NS = NS_PER_S * 3 // 2
"""Without a sweep a snapshot is published this long after the last one."""
SWITCH_S = 0.001
"""A thread that parses hands the interpreter to one that answers a scrape after this time; Python's own default is 5 ms."""
COSTS_S = 2.0  # what we cost need not be known every second: knowing it costs too


class SteeringGovernor(Protocol):
    """The governor, seen from here: a snapshot in; rows for the ledger and what to show out. No call waits long."""

    def __call__(self, snapshot: Snapshot) -> tuple[SteeringRows, tuple[DvfsDevice, ...]]: ...  # noqa: D102
    def health(self) -> tuple[SourceHealth, ...]: ...  # noqa: D102
    def describe_steering(self, workload: str) -> dict[str, object]: ...  # noqa: D102
    def describe_groups(self) -> list[dict[str, object]]: ...  # noqa: D102
    def request_setting(self, workload: str, body: object, place: str = "") -> None: ...  # noqa: D102
    def stop(self) -> SteeringRows: ...  # noqa: D102


@dataclass(slots=True)
class Agent:
    """Everything the loop needs, built by the composition root."""

    config: Config
    identity: Identity
    clock: Clock
    journal: Journal
    sampler: ReaderSupervisor
    accountant: Accountant
    tokens: TokenPoller
    state_dir: Path
    steer: SteeringGovernor | None = None
    meters: MeterPoller | None = None
    training: TrainingReports | None = None
    node_note: NodeNote | None = None
    owners: ProcessOwners | None = None
    serving_pods: ServingPods = field(default_factory=ServingPods)
    per_token: EnergyPerToken = field(default_factory=EnergyPerToken)
    prices: PriceHours = field(default_factory=PriceHours)
    stopping: Flag = field(default_factory=Flag)
    reload_wanted: Flag = field(default_factory=Flag)
    _wake: Wake = field(default_factory=Wake)
    reload: Reload = field(default_factory=Reload)
    on_reload: Callable[["Agent"], None] | None = None
    on_turn: Callable[["Agent"], None] | None = None  # each turn of the loop, once what the last one had to do is done
    on_publish: Callable[[Snapshot], None] | None = None
    web_ok: Callable[[], bool] | None = None
    listener_health: Callable[[], tuple[SourceHealth, ...]] = tuple
    snapshot: Snapshot | None = None
    _dvfs: tuple[DvfsDevice, ...] = ()
    _neighbours: FaultContainment = field(default_factory=lambda: FaultContainment("agent", log))
    _disbelieved: dict[str, str] = field(default_factory=dict)  # meters of the node, with the reason
    _last_reasons: dict[str, str] = field(default_factory=dict)
    _next_release_check_s: float = 0.0
    _next_costs_s: float = 0.0
    _own_costs: tuple[ProcessCost, ...] = ()

    def run(self) -> None:
        """Until `stopping` is set; then the open hour becomes a segment and every child ends.

        Raises:
            WattlensError: NVML does not answer at start, and the configuration says to fail.
        """
        sealed_ns = self.clock.utc_ns()
        order = UtcOrder(sealed_ns)
        published_boot_ns, due_s = self.clock.boot_ns(), math.inf  # when, by the machine's clock, the last sweep is published
        answered: tuple[bool, ...] = (False,)
        self.sampler.wake = (self._wake.fd,)
        sys.setswitchinterval(SWITCH_S)
        gc.freeze()  # what is loaded by now lives as long as the agent
        gc.set_threshold(20_000)  # a second makes some thousand objects without cycles
        try:
            while not self.stopping.is_set():
                if self.reload_wanted.is_set():
                    self.reload_wanted.clear()
                    self._reload()
                self._neighbours.contain("release", self._obey_release, None)
                left_s = (published_boot_ns + DEADLINE_NS - self.clock.boot_ns()) / NS_PER_S
                sweeps = self._poll(max(0.02, min(self.clock.real_seconds(left_s), due_s - time.monotonic())))
                self._refuse_if_no_driver()
                for samples in sweeps:
                    if self._neighbours.contain(
                        "accounting", partial(self.accountant.feed, samples, self.sampler.infos), False
                    ):
                        self.sampler.list_processes()
                utc_ns, boot_ns = self.clock.utc_ns(), self.clock.boot_ns()
                if order.went_back(utc_ns):
                    self.per_token.restart()
                    self.prices.restart()
                answering = (self.sampler.node.up, *(d.up for d in self.sampler.devices.values()))
                if any(not samples or not samples[0].fast for samples in sweeps):
                    due_s = min(due_s, time.monotonic() + self.tokens.answer_s)
                # Without a sweep the deadline publishes what is known; a device that stopped answering is published at once.
                late = boot_ns >= published_boot_ns + DEADLINE_NS
                if time.monotonic() >= due_s or answering != answered or late:
                    answered, published_boot_ns, due_s = answering, boot_ns, math.inf
                    self._commit_and_publish()
                segment_ns = self.config.ledger.segment_s * NS_PER_S
                if utc_ns // segment_ns != sealed_ns // segment_ns:
                    sealed_ns = utc_ns
                    self._seal(utc_ns // segment_ns * segment_ns)
                if self.on_turn is not None:
                    self._neighbours.contain("turn", partial(self.on_turn, self), None)
        finally:
            self._end()

    def _end(self) -> None:
        """The open rows become a segment, settings go back, every child ends; none of it is left out because another fails.

        Energy comes first: a preempted node may be gone within a second, whatever the actuator does meanwhile.
        """
        steer, self.steer = self.steer, None
        self._neighbours.contain("commit", self._commit_and_publish, None)
        self._seal(None)
        if steer is not None:
            self.accountant.add_steering(self._neighbours.contain("steering", steer.stop, SteeringRows()))
            self._neighbours.contain("commit", self._commit_and_publish, None)
            self._seal(None)
        parts = (self.tokens, self.meters, self.accountant.joined, self.node_note, self.sampler)
        for part in parts:
            if part is not None:
                self._neighbours.contain("end", part.stop, None)
        self.journal.close()

    def _poll(self, timeout_s: float) -> list[tuple[DeviceSample, ...]]:
        """Completed sweeps of the reader; a failure of its supervisor costs a turn and is no reason to end."""
        sweeps = self._neighbours.contain("reader", partial(self.sampler.poll, timeout_s), None)
        if sweeps is None:
            self._wake.wait(min(timeout_s, 0.1))
        self._wake.drain()
        return sweeps or []

    def stop(self) -> None:
        """End the loop; may be called from a signal handler or another thread."""
        self.stopping.set()
        self._wake.ring()

    def reload_soon(self) -> None:
        """Read the configuration again; may be called from a signal handler or another thread."""
        self.reload_wanted.set()
        self._wake.ring()

    def dvfs_changed(self) -> None:
        """The governor is another one: what the old one showed goes from the page."""
        self._dvfs = ()

    def _commit_and_publish(self) -> None:
        self._neighbours.contain("serving_pods", self._follow_serving_pods, None)
        self._neighbours.contain("tokens", lambda: self.accountant.add_tokens(*self.tokens.drain()), None)
        if self.training is not None:
            self._neighbours.contain("training", partial(self._take_training, self.training), None)
        if self.meters is not None:
            self._neighbours.contain("node", partial(self._take_meters, self.meters), None)
        entries = self._neighbours.contain("commit", self._commit, None)
        if entries is not None:
            self._neighbours.contain("energy_per_token", partial(self._join_tokens, entries), None)
        snapshot = self._neighbours.contain("snapshot", self._snapshot, None)
        if snapshot is None:
            return
        self.snapshot = snapshot
        if self.on_publish is not None:
            self._neighbours.contain("publish", partial(self.on_publish, snapshot), None)
        if self.steer is not None:
            steered = self._neighbours.contain("steering", partial(self.steer, snapshot), None)
            if steered is not None:
                done, self._dvfs = steered
                self.accountant.add_steering(done)

    def _commit(self) -> list[Entry] | None:
        """Write what came since the last commit and return its entries; None: it waits."""
        try:
            self.journal.commit(self.accountant.batch())
        except JournalError as error:
            self._say("journal", str(error))
            self.accountant.not_committed()
            return None
        except Exception:
            self.accountant.not_committed()
            raise
        self._say("journal", "")
        return self.accountant.committed()

    def _follow_serving_pods(self) -> None:
        self.serving_pods.follow(self.accountant.joined, self.tokens, simulated=self.identity.simulated)

    def _take_training(self, training: TrainingReports) -> None:
        self.accountant.add_training(training.drain(self.accountant.recent_workloads()))

    def _take_meters(self, meters: MeterPoller) -> None:
        # Until NVML answered there may be GPUs of which nothing is known.
        gpus = {"not found yet"} if self.sampler.node.reason == "starting" else self.sampler.devices.keys()
        read = meters.drain()
        now = (self.clock.utc_ns(), self.clock.boot_ns())
        self._disbelieved = self.accountant.add_node(read, *now, gpus)

    def _join_tokens(self, entries: list[Entry]) -> None:
        """What engines did and what was recorded to their devices, over the same intervals."""
        unmetered = self.accountant.unmetered_workloads()
        rows = [row for row in self.tokens.deltas() if row.workload not in unmetered]
        self.per_token.served(rows)
        samples = [view.sample for view in self.snapshot.devices if view.sample is not None] if self.snapshot else []
        self.per_token.add_entries(entries, {s.uuid: s.gpu_percent / 100 for s in samples if s.gpu_percent is not None})
        self.per_token.settle(self.clock.utc_ns())
        self.per_token.forget(self.tokens.served())
        engines = self._engines()
        partly = {engines.get(workload) for workload in unmetered}  # what all of their GPUs draw is not known
        self.prices.add(entries, rows, {workload: of for workload, of in engines.items() if of not in partly})
        self.prices.settle(self.clock.utc_ns(), self.per_token.views(), self._sensor_errors())

    def _engines(self) -> dict[str, str]:
        """Workload -> engine, of those that serve: pools of one group serve together."""
        groups = {workload: group or workload for workload, group in self.tokens.groups().items()}
        if self.snapshot is not None:
            pools = set(groups.values()) - groups.keys()
            groups |= {f.workload: f.labels["group"] for f in self.snapshot.facts if f.labels.get("group") in pools}
        return groups

    def _sensor_errors(self) -> dict[str, SensorError]:
        devices = self.snapshot.devices if self.snapshot is not None else ()
        return {v.info.uuid: SensorError(v.gain_uncertainty_ratio, v.edge_uj) for v in devices if v.edge_uj is not None}

    def _snapshot(self) -> Snapshot:
        node, sampler = self.sampler.node, self.sampler
        for uuid, device in sampler.devices.items():
            self._say(uuid, "" if device.up else device.reason)
        self._say("nvml", "" if node.up else node.reason)
        now_ns, boot_ns = self.clock.utc_ns(), self.clock.boot_ns()
        return replace(
            self.accountant.snapshot(now_ns, sampler.devices, self._health(), self.journal.stats()),
            dvfs=self._dvfs,
            config_reload_ok=self.reload.ok and (self.web_ok is None or self.web_ok()),
            config_reload_success_ns=self.reload.success_ns,
            reader_restarts_total=node.restarts_total,
            processes=self._costs(),
            boot_ns=boot_ns,
            device_health=sampler.health(boot_ns),
            serving=self.per_token.views(),
            engine_hours=self.prices.views(self._sensor_errors()),
            selection=self.config.web.metrics.selection,
        )

    def _health(self) -> tuple[SourceHealth, ...]:
        """The health of every source; a source that cannot report its health is down."""
        node, sampler = self.sampler.node, self.sampler
        health = [
            SourceHealth("nvml", node.up, "", node.reason, node.last_success_ns, node.poll_s),
            *(SourceHealth("nvml", d.up, u, d.reason, d.last_success_ns) for u, d in sorted(sampler.devices.items())),
        ]
        sources: tuple[tuple[str, Callable[[], tuple[SourceHealth, ...]]] | None, ...] = (
            ("tokens_health", lambda: self.tokens.health(self.accountant.recent_workloads())),
            ("serving_pods_health", self.serving_pods.health),
            ("node_health", partial(self.meters.health, self._disbelieved)) if self.meters is not None else None,
            ("holders_health", self.accountant.joined.health),
            ("node_annotation_health", lambda: (note.health(),)) if (note := self.node_note) is not None else None,
            ("steering_health", self.steer.health) if self.steer is not None else None,
            ("listener_health", self.listener_health),
        )
        for source in sources:
            if source is not None:
                health += self._neighbours.contain(*source, ())
        if stuck := len(sampler.unkillable):
            reason = f"{stuck} processes hang in the driver and cannot be killed"
            health.append(SourceHealth("agent:unkillable", False, "", reason))
        ledger = self.journal.stats().health()
        self._say("ledger", "; ".join(source.reason for source in ledger))
        return (*health, *ledger, *self._neighbours.health())

    def _seal(self, up_to_ns: int | None) -> None:
        self._neighbours.contain("seal", partial(self._write_segment, up_to_ns), None)

    def _write_segment(self, up_to_ns: int | None) -> None:
        try:
            self.journal.seal(up_to_ns)
        except JournalError as error:
            self._say("segment", str(error))
        else:
            self._say("segment", "")

    def _refuse_if_no_driver(self) -> None:
        node = self.sampler.node
        mode = self.config.sources.nvml.on_start_failure
        if node.up or node.last_success_ns is not None or node.reason == "starting" or mode == "retry":
            return
        if mode == "fail":
            raise WattlensError(
                f"NVML is not available: {node.reason}; on a machine without a GPU use --simulate; to wait for the "
                "driver set sources.nvml.on_start_failure: retry"
            )
        self.sampler.release(f"skipped at start: {node.reason}")

    def _obey_release(self) -> None:
        """`wattlens agent release` leaves a file with a deadline in the state folder."""
        if time.monotonic() < self._next_release_check_s:
            return
        self._next_release_check_s = time.monotonic() + 1.0
        try:
            requested = is_requested(self.state_dir, RealClock())  # of the person who asked, also on a simulated node
        except ValueError as error:
            self._say("release", f"the driver is not released: {error}")
            requested = False
        if requested:
            self.sampler.release("released on request")
        elif self.sampler.node.reason == "released on request":
            (self.state_dir / RELEASE_FILE).unlink(missing_ok=True)
            self.sampler.resume()

    def _reload(self) -> None:
        if self.on_reload is not None:
            self.reload.attempt(partial(self.on_reload, self), self.clock, log)

    def _say(self, about: str, reason: str) -> None:
        """Log a change once, not a state every second."""
        if self._last_reasons.get(about, "") == reason or reason in ("starting", "not read yet"):
            return
        self._last_reasons[about] = reason
        if reason:
            log.warning("%s: %s", about, reason)
        else:
            log.info("%s: ok", about)

    def _costs(self) -> tuple[ProcessCost, ...]:
        if time.monotonic() >= self._next_costs_s:
            self._next_costs_s = time.monotonic() + COSTS_S
            pids = {"agent": os.getpid(), "reader": self.sampler.reader_pid}
            self._own_costs = tuple(c for n, pid in pids.items() if pid is not None and (c := cost_of(n, pid)) is not None)
        return self._own_costs
