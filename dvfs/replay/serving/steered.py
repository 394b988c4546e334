"""Replicas under a policy, second by second: the policy observes only what Wattlens observes of a real server.

Once per second, at the end of an engine step, the policy gets an `Observation`: clock, power and energy of the devices, and the
counters and histograms of the server's metrics endpoint. A change of the lock applies 25 to 50 ms later, at the end of a step:
setting and settling took that long on V100-class GPUs (public report, p50 25 ms, p99 32 to 37 ms). Each replica is a group with
its own state of the policy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

from dvfs.replay.serving.engine import Replica, ReplicaCounters, Stream
from dvfs.replay.serving.fleet import FleetOutcome, RequestLimits, closed
from dvfs.replay.serving.server import ReplicaSpec
from dvfs.replay.serving.spec import Rates
from dvfs.types import DeviceObservation, DvfsPolicy, Observation, Setting, SteeringSettings, WorkCounters

PERIOD_S = 1.0
WINDOW_S = 60.0
SWITCH_S = (0.025, 0.050)
NS = 1_000_000_000
START_NS = 1_000 * NS  # boot time at which the trace begins


class ReplicaPolicy(Protocol):
    """Chooses the clock lock of one replica; None: no lock."""

    def __call__(self, observation: Observation, busy_ratio: float, /) -> int | None:
        """The highest clock in MHz from now on. `busy_ratio` is the share of the last second in which a kernel ran."""


def policy_steer(policy: DvfsPolicy, config: Any) -> ReplicaPolicy:
    """A policy of ours as it runs in the product: a hold keeps what is set, a release takes it away."""
    state, lock = policy.start(), None

    def steer(observation: Observation, busy_ratio: float) -> int | None:
        nonlocal state, lock
        decision, state = policy.decide(observation, state, config)
        if decision.action == "set":
            lock = max(s.sm_clock_max_mhz or 0 for s in decision.settings.values()) or None
        elif decision.action == "release":
            lock = None
        return lock

    return steer


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """Result of a fleet under a policy, with its clock changes.

    Args:
        outcome: energy and misses.
        changes: of the lock, over all replicas.
        mean_mhz: mean lock in each window of 60 s, over all replicas that still had work; no lock counts as the highest clock.
    """

    outcome: FleetOutcome
    changes: int
    mean_mhz: tuple[float, ...] = ()


class SteeredFleet:
    """Runs replicas under a policy. Rate tables are computed once per requested clock."""

    def __init__(self, server: ReplicaSpec, slo: RequestLimits, seed: int = 0) -> None:
        self._server, self._slo, self._seed = server, slo, seed
        self._rates: dict[int | None, Rates] = {}

    def rates(self, lock_mhz: int | None) -> Rates:
        """Under this lock."""
        if lock_mhz not in self._rates:
            self._rates[lock_mhz] = self._server.rates(lock_mhz)
        return self._rates[lock_mhz]

    def run(
        self, dealt: Sequence[Stream], make: Callable[[], ReplicaPolicy], progress: Callable[[str], None] = lambda text: None
    ) -> PolicyOutcome:
        """Serve the streams, each under its own steer."""
        replicas, last, changes = [], [], 0
        windows: dict[int, tuple[float, float]] = {}
        for number, stream in enumerate(dealt):
            progress(f"replica {number + 1} of {len(dealt)}")
            replica = Replica(self._server, stream)
            lock, changed = self._serve(replica, make(), f"replica-{number}", Random(f"{self._seed} {number}"), windows)
            replicas.append(replica)
            last.append(self.rates(lock))
            changes += changed
        outcome = closed(replicas, last)
        return PolicyOutcome(outcome, changes, tuple(mhz_s / s for _, (mhz_s, s) in sorted(windows.items())))

    def _serve(
        self,
        replica: Replica,
        steer: ReplicaPolicy,
        group: str,
        random: Random,
        windows: dict[int, tuple[float, float]],
    ) -> tuple[int | None, int]:
        counters, changes = ReplicaCounters(), 0
        lock: int | None = None
        next_s = random.uniform(0.0, PERIOD_S)
        while replica.ended < len(replica.stream):
            began = replica.now_s
            busy_s = counters.busy_s
            replica.run(next_s, self.rates(lock), counters)
            took = replica.now_s - began
            mhz_s, all_s = windows.get(int(began // WINDOW_S), (0.0, 0.0))
            windows[int(began // WINDOW_S)] = (mhz_s + took * self.rates(lock).lock_mhz, all_s + took)
            if replica.is_done:
                break
            passed = max(1e-9, replica.now_s - began)
            wanted = steer(self._observed(replica, counters, group, lock), (counters.busy_s - busy_s) / passed)
            if wanted != lock:
                changes += 1
                replica.run(replica.now_s + random.uniform(*SWITCH_S), self.rates(lock), counters)
                lock = wanted
            next_s = max(next_s + PERIOD_S, replica.now_s)
        return lock, changes

    def _observed(self, replica: Replica, counters: ReplicaCounters, group: str, lock: int | None) -> Observation:
        gpu, slo = self._server.gpu, self._slo
        now = START_NS + round(replica.now_s * NS)
        rates = self.rates(lock)
        busy = replica.running > 0
        clock = round((replica.mhz if busy else rates.lock_mhz) / gpu.f_step_mhz) * gpu.f_step_mhz
        limited = busy and replica.mhz < rates.lock_mhz - gpu.f_step_mhz
        device = DeviceObservation(
            uuid=f"GPU-{group}",
            sku=gpu.name,
            boot_ns=now,
            sm_clock_mhz=clock,
            power_limit_mw=round(gpu.limit_default_w * 1e3),
            event_reasons=(0x4 if limited else 0) if busy else 0x1,
            energy_uj=round(replica.energy_j * 1e6 / self._server.gpus),
            power_range_mw=(round(gpu.limit_min_w * 1e3), round(gpu.limit_default_w * 1e3)),
            sm_clock_max_mhz=gpu.f_max_mhz,
        )
        ttft, itl = counters.latencies()
        progress = WorkCounters(
            now,
            tokens=round(counters.tokens),
            queue=replica.waiting,
            latency_sum_s=itl.sum_s,
            latency_count=itl.count,
            prompt_tokens=counters.prompt_tokens,
            requests=replica.ended,
            running=replica.running,
            ttft=ttft,
            itl=itl,
        )
        terms = SteeringSettings(ttft_s=slo.ttft_s, itl_s=slo.itl_s, attainment_ratio=slo.attainment_ratio)
        gpus = self._server.gpus
        devices = (device,) if gpus == 1 else tuple(replace(device, uuid=f"{device.uuid}-{n}") for n in range(gpus))
        return Observation(
            group,
            now,
            devices,
            progress,
            progress_expected=True,
            workload=group,
            open_arrivals=True,
            terms=terms,
            in_force={} if lock is None else {one.uuid: Setting(sm_clock_max_mhz=lock) for one in devices},
        )
