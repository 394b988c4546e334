"""Judge of `budget_w`: nodes drawn from a seed, on which processes start and stop, under the agent's own observer and governor.

The plant and the laws are written from the documentation alone, not from the policy. A GPU draws what its process demands, up
to its power limit, with a lag; limits, idle power, demand, sensors and the delay of process lists are drawn. The laws:

- A node that draws less than its budget without steering loses less than 2 % of its steps in 150 s. Limits take some seconds to
  follow work that grows.
- The GPUs together draw at most the budget, except for 5 s after a process starts on a free GPU, when each such GPU may add
  its lowest limit minus its idle power. The same holds for a GPU whose process drew less than the lowest limit and draws more.

A GPU whose owner does not permit steering can draw up to its own limit. Budgets leave room for that, but nodes with such a GPU
are not judged by their steps. Steps of the first seconds of a process, and of work that grows, are not counted: the limit rises
when it is seen.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.runner import Row
from dvfs.actuator.client import ActuatorError, ActuatorStatus, Effect
from dvfs.actuator.lease import TTL_S
from dvfs.actuator.records.note import SettingNote
from dvfs.types import Setting
from energy_agent.config.dvfs import Dvfs
from energy_agent.core.energy import DeviceInfo, DeviceSample, Identity
from energy_agent.core.snapshot import DeviceView, Snapshot
from energy_agent.tokens.poller import TokenPoller
from wattlens.steering.build import make_governor
from wattlens.steering.observer import Observer
from wattlens.steering.requests import SteeringRequests

NS = 1_000_000_000
TICK_S = 0.1
SETTLE_S = 6.0  # from the start of steering on
EXCESS_S = 5.0  # after a process started on a free GPU
RAMP_S = 10.0  # of a new process or one that grows, whose steps are not counted
LOST_MOST = 0.02
DENIED = "deny"
_TOLERANCE_W = 0.5


@dataclass(frozen=True)
class DrawnJob:
    """A process, or one on each of several GPUs."""

    name: str  # of the workload
    gpus: tuple[int, ...]  # that it uses
    start_s: float  # when it runs
    end_s: float  # when it runs
    demand_w: float  # of each GPU without a limit
    exponent: float  # of progress over dynamic power
    static_w: float  # power that makes no progress
    noise: float  # standard deviation of demand, as a ratio
    dip_every_s: float = 0.0  # seconds between pauses of 4 s, such as checkpoints; 0: none
    up_s: float = 0.0  # until when it demands half of its dynamic power; 0: never

    def is_ramping(self, t_s: float) -> bool:
        """Whether it started or grew a few seconds ago."""
        return any(0 < at_s <= t_s <= at_s + RAMP_S for at_s in (self.start_s, self.up_s))

    def demand_at(self, t_s: float, noise: float) -> float:
        """What each of its GPUs would draw at a time."""
        age_s = t_s - self.start_s
        if self.dip_every_s and age_s % self.dip_every_s > self.dip_every_s - 4:
            return self.static_w + 10
        part = 0.5 if t_s < self.up_s else 1.0
        return self.static_w + (self.demand_w - self.static_w) * part * (1 + self.noise * noise)


@dataclass(frozen=True)
class DrawnNode:
    """A node; powers in W."""

    seed: int
    idle_w: tuple[float, ...]
    range_w: tuple[float, float]
    least_w: float  # that the actuator permits
    jobs: tuple[DrawnJob, ...]
    budget_w: float
    lag_s: float  # of power after a limit or demand
    window_s: float  # over which the sensor averages
    write_s: float  # from the call to the limit
    listed_s: float  # between two process lists
    length_s: float


def draw_node(seed: int, *, is_below: bool, length_s: float = 150.0) -> DrawnNode:
    """A node whose budget is above what it draws without steering, or any budget that its lowest limits permit."""
    draw = random.Random(f"node {seed}")
    count, most = draw.choice((2, 4, 8, 8, 16)), float(draw.choice((300, 450, 700, 1000)))
    least = round(draw.uniform(0.2, 0.55) * most)
    permitted = round(least * draw.choice((1.0, 1.0, 1.3)))
    idle = tuple(draw.uniform(0.05, 0.15) * most for _ in range(count))
    order, jobs, i = draw.sample(range(count), count), list[DrawnJob](), 0
    busy = draw.randint(1, count)
    while i < count:
        size = min(draw.choice((1, 1, 2, 4)), count - i) if i else min(busy, count)
        if i and draw.random() < 0.35:  # these stay free
            i += size
            continue
        start, end = (0.0, math.inf) if i == 0 else (draw.uniform(20, 0.8 * length_s), math.inf)
        if draw.random() < 0.3:
            end = start + draw.uniform(30, 90)
        static = 1.1 * max(idle)
        name = f"{DENIED if not is_below and i and draw.random() < 0.2 else 'job'}-{i}"
        jobs.append(
            DrawnJob(
                name, tuple(order[i : i + size]), start, end, draw.uniform(max(0.5, 1.2 * static / most), 1.15) * most,
                draw.uniform(0.2, 0.9), static, draw.choice((0, 0.01, 0.02)), draw.choice((0, 0, draw.uniform(20, 60))),
                draw.choice((0, 0, 0, start + draw.uniform(20, 60))),
            )
        )  # fmt: skip
        i += size
    node = DrawnNode(
        seed, idle, (least, most), permitted, tuple(jobs), math.inf, draw.uniform(0.05, 0.3), draw.choice((TICK_S, 1.0)),
        draw.uniform(0, 0.3), draw.choice((1.0, 5.0)), length_s,
    )  # fmt: skip
    if is_below:
        budget = max(play(node).drawn_w) * draw.uniform(1.0, 1.15)
    else:
        floor = sum(
            max((most if job.name.startswith(DENIED) else permitted for job in jobs if gpu in job.gpus), default=idle[gpu])
            for gpu in range(count)
        )
        budget = draw.uniform(floor, max(floor, 0.9 * most * count))
    return replace(node, budget_w=budget)


@dataclass
class BudgetPlant:
    """GPUs in time, and an actuator whose writes take effect after a delay."""

    node: DrawnNode
    now_s: float = 0.0
    steps: float = 0.0
    leases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pending: list[tuple[float, int, float]] = field(default_factory=list)  # when which GPU gets which limit
    granted: int = 0

    def __post_init__(self) -> None:
        self.count = len(self.node.idle_w)
        self.limit_w = [self.node.range_w[1]] * self.count
        self.power_w, self.demand_w = list(self.node.idle_w), list(self.node.idle_w)
        self.past_w: list[list[float]] = [[power] for power in self.power_w]
        self.noise = random.Random(f"noise {self.node.seed}")
        self.listed: dict[int, str] = {}
        self.listed_s = -math.inf

    def job_of(self, gpu: int) -> DrawnJob | None:
        """The job that runs on a GPU now."""
        return next((job for job in self.node.jobs if gpu in job.gpus and job.start_s <= self.now_s < job.end_s), None)

    def advance(self) -> None:
        """Let one tick pass."""
        self.now_s += TICK_S
        for due in [one for one in self.pending if one[0] <= self.now_s]:
            self.pending.remove(due)
            self.limit_w[due[1]] = due[2]
        decay = math.exp(-TICK_S / self.node.lag_s)
        noises = {job.name: self.noise.gauss(0, 1) for job in self.node.jobs}
        for gpu in range(self.count):
            job = self.job_of(gpu)
            demand = self.node.idle_w[gpu] if job is None else job.demand_at(self.now_s, noises[job.name])
            self.demand_w[gpu], target = demand, min(demand, self.limit_w[gpu])
            power = target + (self.power_w[gpu] - target) * decay
            self.power_w[gpu] = power
            self.past_w[gpu] = [*self.past_w[gpu][-9:], power]
            if job is not None and self.now_s > SETTLE_S and not job.is_ramping(self.now_s):
                free = min(demand, self.node.range_w[1])
                room = max(1.0, free - job.static_w)
                self.steps += TICK_S * max(0.0, min(1.0, (min(target, free) - job.static_w) / room)) ** job.exponent
        if self.now_s - self.listed_s >= self.node.listed_s:
            self.listed_s = self.now_s
            self.listed = {gpu: job.name for gpu in range(self.count) if (job := self.job_of(gpu)) is not None}

    def snapshot(self) -> Snapshot:
        """What the agent reads now."""
        now, (least, most) = self.boot_ns(), self.node.range_w
        views = []
        for gpu in range(self.count):
            past = self.past_w[gpu][-max(1, round(self.node.window_s / TICK_S)) :]
            job, limit = self.job_of(gpu), self.limit_w[gpu]
            is_capped = self.demand_w[gpu] > limit
            info = DeviceInfo(
                f"GPU-{gpu}", gpu, "drawn", "", "", "", round(1e3 * least), round(1e3 * most), sm_clock_max_mhz=1980
            )
            sample = DeviceSample(
                info.uuid, now, now, power_mw=round(1e3 * sum(past) / len(past)), power_limit_mw=round(1e3 * limit),
                sm_clock_mhz=1500, gpu_percent=100 if job else 0, event_reasons=4 if is_capped else 0 if job else 1,
            )  # fmt: skip
            views.append(DeviceView(info, True, "", sample, {}, 0, {}, 0.0, 0))
        owners = {f"GPU-{gpu}": (self.listed[gpu],) if gpu in self.listed else () for gpu in range(self.count)}
        return Snapshot(0, now, Identity("", "node", "boot", "", True), tuple(views), owners=owners, boot_ns=now)

    # A clock.

    def boot_ns(self) -> int:
        """Seconds of the run from 1,000 on."""
        return round((1000.0 + self.now_s) * NS)

    utc_ns = boot_ns

    def boot_id(self) -> str:
        """Of the one boot."""
        return "boot"

    def sleep(self, seconds: float) -> None:
        """Nothing waits."""
        raise NotImplementedError

    def real_seconds(self, seconds: float) -> float:
        """One second takes one."""
        return seconds

    # The actuator.

    def acquire(self, devices: Sequence[str], ttl_s: float = TTL_S) -> str:
        """Lease devices that nobody has."""
        taken = {device for owned in self.leases.values() for device in owned}
        if taken & set(devices):
            raise ActuatorError("held", f"{sorted(taken & set(devices))}: another lease")
        self.granted += 1
        self.leases[str(self.granted)] = tuple(devices)
        return str(self.granted)

    def set(self, lease: str, device: str, setting: Setting, note: SettingNote | None = None) -> Effect:
        """Write a limit; without one the original returns."""
        if device not in self.leases.get(lease, ()):
            raise ActuatorError("expired", f"{device}: no such lease")
        least, most = self.node.least_w, self.node.range_w[1]
        limit = most if setting.power_limit_mw is None else min(max(setting.power_limit_mw / 1e3, least), most)
        self._write(int(device.removeprefix("GPU-")), limit)
        return Effect(
            Setting(setting.sm_clock_max_mhz, None if setting.power_limit_mw is None else round(1e3 * limit)), 1500, ()
        )

    def heartbeat(self, lease: str) -> None:
        """Renew."""
        if lease not in self.leases:
            raise ActuatorError("expired", "no such lease")

    def release(self, lease: str, reason: str = "") -> list[tuple[str, str, str]]:
        """Restore the original limits."""
        for device in self.leases.pop(lease, ()):
            self._write(int(device.removeprefix("GPU-")), self.node.range_w[1])
        return []

    def status(self) -> ActuatorStatus:
        """Original limits."""
        original = round(1e3 * self.node.range_w[1])
        rows = ({"device": f"GPU-{gpu}", "original_power_limit_mw": original} for gpu in range(self.count))
        return ActuatorStatus(False, tuple(rows))

    def _write(self, gpu: int, limit_w: float) -> None:
        self.pending.append((self.now_s + self.node.write_s, gpu, limit_w))


@dataclass(frozen=True)
class BudgetRun:
    """Power of each GPU at each tick, and steps."""

    powers_w: list[list[float]]
    steps: float

    @property
    def drawn_w(self) -> list[float]:
        """Of all GPUs together."""
        return [sum(powers) for powers in self.powers_w]


def play(node: DrawnNode) -> BudgetRun:
    """Run a node; without a budget it is not steered."""
    plant, powers = BudgetPlant(node), list[list[float]]()
    if node.budget_w < math.inf:
        config = Dvfs(
            mode="enforce", auto_groups=True, policy="asked", budget_w=node.budget_w,
            workloads={f"{DENIED}-*": {"mode": "observe"}},
        )  # fmt: skip
        observer = Observer(config, plant, SteeringRequests(plant), TokenPoller(plant))
        governor = make_governor(config, plant, {}, client=plant)
    phase = random.Random(node.seed).randrange(10)
    for tick in range(round(node.length_s / TICK_S)):
        plant.advance()
        powers.append(list(plant.power_w))
        if node.budget_w < math.inf and tick % 10 == phase:
            governor.step(observer.observe(plant.snapshot()))
    return BudgetRun(powers, plant.steps)


def excess_w(node: DrawnNode, run: BudgetRun) -> tuple[float, float]:
    """By how much drawn power exceeds what is permitted, at rest and within 5 s of a start; negative where it does not."""
    rest = after = -math.inf
    least, ticks = node.least_w, round(EXCESS_S / TICK_S)
    for tick in range(round(SETTLE_S / TICK_S), len(run.powers_w)):
        now, before = run.powers_w[tick], run.powers_w[tick - ticks : tick]
        risen = sum(max(0.0, min(now[gpu], least) - min(past[gpu] for past in before)) for gpu in range(len(now)))
        over = sum(now) - node.budget_w - risen
        rest, after = (max(rest, over), after) if risen < 1 else (rest, max(after, over))
    return rest, after


def run(nodes: int = 200, first_seed: int = 1) -> Iterator[Row]:
    """A row for nodes that stay below the budget by themselves, and one for those that do not."""
    for is_below in (True, False):
        drawn = [draw_node(seed, is_below=is_below) for seed in range(first_seed, first_seed + nodes)]
        runs = [play(node) for node in drawn]
        over = [excess_w(node, one) for node, one in zip(drawn, runs, strict=True)]
        row: Row = {"nodes": nodes, "budget": "above unsteered power" if is_below else "any"}
        row["worst_over_at_rest_w"], row["worst_over_after_start_w"] = (max(values) for values in zip(*over, strict=True))
        broken = [node.seed for node, values in zip(drawn, over, strict=True) if max(values) > _TOLERANCE_W]
        row["nodes_over"] = len(broken)
        if is_below:
            lost = [1 - one.steps / play(replace(node, budget_w=math.inf)).steps for node, one in zip(drawn, runs, strict=True)]
            row["worst_steps_lost_percent"] = 100 * max(lost)
            slow = [node.seed for node, share in zip(drawn, lost, strict=True) if share >= LOST_MOST]
            row["nodes_slowed"], broken = len(slow), [*broken, *slow]
        yield row | {"first_seeds": broken[:8], "ok": not broken}
