"""`wattlens job` of jobs over 32 to 128 changing nodes with one preemption per minute, against the plant's joules.

Run from the repository's root: python -m benchmarks job_nodes [--nodes 128] [--minutes 30] [--gpus 8]

The plant is independent of the product: the power of each GPU is a sequence of levels that follows the job (training, a
checkpoint every five minutes, a restart after each change of nodes), with its own counter that ticks about every 100 ms. The
job is elastic: it starts on all nodes, shrinks to a quarter and grows again. Once per minute a node is preempted, its agent
ends with it, and another node joins with a new pod. The product reads each counter once per second, attributes, records and
seals segments per node. `wattlens job` reads the segments, and the days that are compacted from them.

Bars: energy of each job within 0.5 % of what the plant drew for it, within its stated bounds; parts sum exactly (`==`): active
and idle, nodes, both sources; steps are those of the job, although every node counts them.
"""

import random
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

from benchmarks.chain import SegmentChainWriter
from benchmarks.runner import Row, say
from energy_agent.accounting.device import DeviceAccount
from energy_agent.accounting.training_phases import lasting, phase_rows
from energy_agent.core.energy import DeviceInfo, DeviceSample, Entry, Gap, Identity, Steps, Tokens, WorkloadFacts
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts, PhaseRow
from energy_agent.metering.attribution import Holding
from energy_agent.metering.gpu import SensorLimits
from energy_agent.owners.processes import DeviceOwners
from wattlens.cli import main
from wattlens.job.statement import JobReport, report_of
from wattlens.usage.compacted_days import read_job_days
from wattlens.usage.job_address import parse_address
from wattlens.usage.ledger_rows import read_ledger

ERROR_MAX: Final = 0.005
CLUSTER, NAMESPACE, MODEL = "prod", "research", "llama-70b"
FIRST_S: Final = 1_788_220_800  # 2026-09-01T00:00:00Z
RESTART_S, CHECKPOINT_S, CHECKPOINT_EVERY_S, STEP_S, AWAY_S = 12.0, 15.0, 300.0, 1.5, 300.0
SPARE: Final = 12
"""Nodes of the pool beyond those of the largest size: five are away at any time."""
TOKENS_PER_STEP: Final = 8_192
SIZES: Final = (1.0, 0.75, 0.5, 0.25, 0.5, 0.75, 1.0, 1.0)
"""Nodes of the elastic job over its life, as shares of all."""
END: Final = float("inf")
LATER_NS: Final = (FIRST_S + 10 * 86_400) * NS_PER_S


@dataclass(slots=True)
class PodStay:
    """A pod of a job on one node, in s from the start."""

    node: int
    name: str
    start_s: float
    end_s: float = END
    preempted: bool = False


@dataclass(slots=True)
class PlannedJob:
    """A job of the plant: its pods, and when it trained, saved a checkpoint or waited. Each interval is (start, end)."""

    name: str
    pods: list[PodStay] = field(default_factory=list)
    training: list[tuple[float, float]] = field(default_factory=list)
    checkpoints: list[tuple[float, float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps of the whole job."""
        return sum(steps_in(*interval) for interval in self.training)


@dataclass(slots=True)
class PowerLevels:
    """Power of one GPU: levels that hold from one time to the next."""

    at: list[float]
    watts: list[float]
    sums: list[float]

    @classmethod
    def of(cls, levels: list[tuple[float, float]], until_s: float) -> "PowerLevels":
        """From (start, watts) in order."""
        at = [t for t, _ in levels] + [until_s]
        watts = [w for _, w in levels]
        return cls(at, watts, [0.0, *accumulate(w * (b - a) for w, (a, b) in zip(watts, pairwise(at), strict=True))])

    def joules(self, at_s: float) -> float:
        """Energy up to a time."""
        k = min(max(0, bisect_right(self.at, at_s) - 1), len(self.watts) - 1)
        return self.sums[k] + self.watts[k] * (min(at_s, self.at[-1]) - self.at[k])


def steps_in(start_s: float, end_s: float) -> int:
    """Steps that end within an interval of training that starts with a step."""
    return int((end_s - start_s) / STEP_S)


def plan_elastic(nodes: int, minutes: float, rng: random.Random) -> PlannedJob:
    """The elastic job: one preemption per minute, and its size by SIZES."""
    until_s, job = minutes * 60, PlannedJob("JobSet/elastic")
    members: dict[int, PodStay] = {}
    away: dict[int, float] = {}
    changes: set[float] = set()

    def start(at_s: float) -> None:
        free = [n for n in range(nodes + SPARE) if n not in members and away.get(n, 0.0) <= at_s]
        node = rng.choice(free)
        members[node] = PodStay(node, f"elastic-{len(job.pods)}", at_s)
        job.pods.append(members[node])

    def stop(node: int, at_s: float, back_s: float, *, preempted: bool = False) -> None:
        members[node].preempted = preempted
        members.pop(node).end_s = at_s
        away[node] = back_s

    joining: list[float] = []
    for second in range(int(until_s)):
        share = SIZES[min(len(SIZES) - 1, int(second / until_s * len(SIZES)))]
        size = max(1, round(nodes * share))
        while joining and joining[0] <= second:
            if len(members) < size:
                start(joining.pop(0))
                changes.add(float(second))
            else:
                joining.pop(0)
        if len(members) + len(joining) != size:
            while len(members) + len(joining) < size:
                start(float(second))
            while len(members) > size:
                stop(rng.choice(sorted(members)), float(second), second + 30.0)
            changes.add(float(second))
        if second % 60 == 30 and len(members) > 1:
            at_s = second + rng.random()
            stop(rng.choice(sorted(members)), at_s, at_s + AWAY_S + 5, preempted=True)
            joining.append(at_s + rng.uniform(10, 25))
            changes.add(at_s)
    for pod in members.values():
        pod.end_s = until_s
    _train(job, sorted(changes), until_s)
    return job


def plan_fixed(first: int, nodes: int, minutes: float) -> PlannedJob:
    """A job on the same nodes from start to end."""
    job = PlannedJob("PyTorchJob/fixed")
    job.pods = [PodStay(first + n, f"fixed-worker-{n}", 20.0, minutes * 60 - 25.0) for n in range(nodes)]
    _train(job, [20.0], minutes * 60 - 25.0)
    return job


def _train(job: PlannedJob, changes: list[float], until_s: float) -> None:
    """The job restarts after each change of its nodes, and saves a checkpoint every so often."""
    job.checkpoints = [(at, min(at + CHECKPOINT_S, until_s)) for at in _checkpoints(until_s)]
    stops = sorted([(at, RESTART_S) for at in changes] + [(at, CHECKPOINT_S) for at in _checkpoints(until_s)])
    free_s = 0.0
    for (at_s, lasts_s), following in zip(stops, [*stops[1:], (until_s, 0.0)], strict=True):
        free_s = max(free_s, at_s + lasts_s)
        if following[0] > free_s + STEP_S:
            job.training.append((free_s, following[0]))


def _checkpoints(until_s: float) -> list[float]:
    return [k * CHECKPOINT_EVERY_S for k in range(1, int(until_s / CHECKPOINT_EVERY_S) + 1)]


def _levels(pods: list[tuple[PodStay, PlannedJob]], rng: random.Random, until_s: float) -> list[tuple[float, float]]:
    """Power levels of one GPU, by the pods that held it."""
    levels, at_s = [(0.0, rng.uniform(55, 75))], 0.0
    for pod, job in pods:
        levels.append((pod.start_s, rng.uniform(85, 110)))
        for start_s, end_s in job.training:
            at_s, stop_s = max(start_s, pod.start_s), min(end_s, pod.end_s)
            while at_s < stop_s:
                levels.append((at_s, rng.uniform(430, 690)))
                at_s += rng.uniform(2, 20)
            if start_s < pod.end_s and end_s > pod.start_s:
                levels.append((stop_s, rng.uniform(85, 110)))
        levels.append((pod.end_s, rng.uniform(55, 75)))
    return [level for level in sorted(levels, key=lambda each: each[0]) if level[0] < until_s]


class SimulatedGpu:
    """A GPU with its counter, and the product's account of it."""

    def __init__(self, node: int, index: int, levels: list[tuple[float, float]], rng: random.Random, until_s: float) -> None:
        self.uuid = f"GPU-{node:04d}{index:04d}-0000-4000-8000-{node:08d}{index:04d}"
        self.power = PowerLevels.of(levels, until_s)
        self._tick_s, self._phase_s = rng.uniform(0.08, 0.11), rng.random()
        self._base_j = 0.0
        info = DeviceInfo(self.uuid, index, "NVIDIA H100 80GB HBM3", "Hopper", "", "570", power_limit_max_mw=700_000)
        self.account = DeviceAccount(info, SensorLimits(150_000_000, 840_000, 30 * NS_PER_S))

    def shown_j(self, at_s: float) -> float:
        """Value of the counter: it moves with its ticks, and begins at 0 when the node does."""
        ticks = int((at_s + self._phase_s) / self._tick_s)
        return self.power.joules(max(0.0, ticks * self._tick_s - self._phase_s)) - self._base_j

    def restart(self, at_s: float) -> None:
        """The node starts again."""
        self._base_j += self.shown_j(at_s)

    def read(self, at_s: float, owner: str, boot_id: str, *, active: bool) -> tuple[list[Entry], Gap | None]:
        """Read the counter as an agent does, with the owner that the scheduler names now."""
        t_ns, boot_ns = round((FIRST_S + at_s) * NS_PER_S), round((1_000 + at_s) * NS_PER_S)
        shown_mj = int(self.shown_j(at_s) * 1000)
        sample = DeviceSample(self.uuid, t_ns, boot_ns, energy_mj=shown_mj, gpu_percent=100 if active else 0)
        self.account.owners = DeviceOwners(Holding({owner: 0} if owner else {}))
        return self.account.feed(sample, boot_id)


def record_node(
    folder: Path, node: int, gpus: int, jobs: list[PlannedJob], until_s: float, seed: int, truth: dict[str, list[float]]
) -> None:
    """Read one node once per second while its agent runs, and write its segments; add its true joules to `truth`."""
    rng = random.Random(f"{seed}/{node}")
    pods = sorted(((pod, job) for job in jobs for pod in job.pods if pod.node == node), key=lambda each: each[0].start_s)
    simulated_gpus = [SimulatedGpu(node, index, _levels(pods, rng, until_s), rng, until_s) for index in range(gpus)]
    for pod, job in pods:
        drawn_j = sum(gpu.power.joules(pod.end_s) - gpu.power.joules(pod.start_s) for gpu in simulated_gpus)
        trained_j, saved_j = (
            sum(
                gpu.power.joules(min(end_s, pod.end_s)) - gpu.power.joules(max(start_s, pod.start_s))
                for gpu in simulated_gpus
                for start_s, end_s in intervals
                if start_s < pod.end_s and end_s > pod.start_s
            )
            for intervals in (job.training, job.checkpoints)
        )
        mine = truth.setdefault(job.name, [0.0, 0.0, 0.0])
        mine[:] = mine[0] + drawn_j, mine[1] + drawn_j - trained_j, mine[2] + saved_j
    writer = SegmentChainWriter(folder, Identity(CLUSTER, f"gpu-{node:03d}", "boot-1", "0.2", simulated=True))
    devices = [DeviceFacts(gpu.uuid, gpu.account.info.name, 0.05, FIRST_S * NS_PER_S) for gpu in simulated_gpus]
    facts = [
        WorkloadFacts(
            f"{NAMESPACE}/{pod.name}",
            round((FIRST_S + pod.start_s) * NS_PER_S),
            "pod",
            {"namespace": NAMESPACE, "pod": pod.name, "owner": job.name, "group": job.name, "model": MODEL},
        )
        for pod, job in pods
    ]
    writer.add(Batch(devices=devices, facts=facts))
    away = [(pod.end_s, pod.end_s + AWAY_S) for pod, _ in pods if pod.preempted]
    times_s = {*(second + rng.uniform(0, 0.02) for second in range(int(until_s) + 1)), *(pod.end_s for pod, _ in pods), until_s}
    entries: list[Entry] = []
    gaps: list[Gap] = []
    phases: list[PhaseRow] = []
    boots, from_s, doing = 1, 0.0, dict[str, str]()
    reads = sorted(at_s for at_s in times_s if at_s <= until_s and not any(gone_s < at_s < back_s for gone_s, back_s in away))
    for at_s, next_s in zip(reads, [*reads[1:], END], strict=True):
        holder = next(((pod, job) for pod, job in pods if pod.start_s <= at_s < pod.end_s), None)
        owner = f"{NAMESPACE}/{holder[0].name}" if holder else ""
        active = holder is not None and any(start_s < at_s and end_s > at_s - 1 for start_s, end_s in holder[1].training)
        first = len(entries)
        for gpu in simulated_gpus:
            new, gap = gpu.read(at_s, owner, f"boot-{boots}", active=active)
            entries += new
            gaps += [gap] if gap is not None else []
        saves = holder is not None and any(start_s <= at_s < end_s for start_s, end_s in holder[1].checkpoints)
        doing, before = {owner: "checkpoint"} if saves else {}, doing
        phases += phase_rows(entries[first:], lasting(before, doing))
        if next_s - at_s > AWAY_S / 2 and next_s < END:
            boots += 1
            for gpu in simulated_gpus:
                gpu.restart(next_s - 5)
        if next_s == END or int(at_s * NS_PER_S) // CELL_NS != int(next_s * NS_PER_S) // CELL_NS:
            tokens, steps = count_steps_of_node(pods, from_s, at_s)
            writer.add(Batch(entries, gaps, tokens, steps=steps, rows=phases))
            entries, gaps, phases, from_s = [], [], [], at_s


def count_steps_of_node(pods: list[tuple[PodStay, PlannedJob]], from_s: float, to_s: float) -> tuple[list[Tokens], list[Steps]]:
    """Tokens and steps that the pods of a node report within [from_s, to_s)."""
    tokens, steps = [], []
    for pod, job in pods:
        for start_s, end_s in job.training:
            a, b = max(start_s, pod.start_s, from_s), min(end_s, pod.end_s, to_s)
            done = int((b - start_s) / STEP_S) - int((a - start_s) / STEP_S) if a < b else 0
            if done:
                start_ns, end_ns = round((FIRST_S + a) * NS_PER_S), round((FIRST_S + b) * NS_PER_S)
                name = f"{NAMESPACE}/{pod.name}"
                steps.append(Steps(start_ns, end_ns, name, "training", done))
                tokens.append(Tokens(start_ns, end_ns, name, MODEL, "training", done * TOKENS_PER_STEP))
    return tokens, steps


def judge(job: PlannedJob, report: JobReport, days: JobReport, drawn_j: float, idle_j: float, saved_j: float) -> Row:
    """A job as `wattlens job` states it, next to the plant."""
    energy = report.energy
    joules = energy.energy_uj / 1e6
    exact = (
        energy.energy_uj == report.active_uj + report.idle_uj == sum(node.energy_uj for node in report.nodes)
        and energy == days.energy
        and (report.active_uj, report.idle_uj, report.nodes) == (days.active_uj, days.idle_uj, days.nodes)
        and report.steps == days.steps
        and report.tokens == days.tokens
        and report.phases == days.phases
    )
    error = joules / drawn_j - 1
    within = energy.low_uj is not None and energy.high_uj is not None and energy.low_uj <= drawn_j * 1e6 <= energy.high_uj
    return {
        "job": report.address,
        "nodes": len(report.nodes),
        "pods": report.workloads,
        "preempted": sum(pod.preempted for pod in job.pods),
        "GPUs at once": round(report.gpus_peak, 1),
        "plant_kwh": drawn_j / 3.6e6,
        "error": f"{error:+.4%}",
        "idle": f"{report.idle_uj / energy.energy_uj:.2%}",
        "idle of plant": f"{idle_j / drawn_j:.2%}",
        "checkpoints": f"{report.phases['checkpoint'][0] / energy.energy_uj:.3%}" if report.phases else "-",
        "of plant": f"{saved_j / drawn_j:.3%}",
        "steps": report.step_count,
        "steps of plant": job.steps,
        "J/step": float(Fraction(report.joules_per_step.value or 0)),
        "in bounds": within,
        "parts ==": exact,
        "ok": abs(error) <= ERROR_MAX and within and exact and abs(report.step_count / job.steps - 1) <= ERROR_MAX,
    }


def run(nodes: int = 128, minutes: float = 30.0, gpus: int = 8, seed: int = 1) -> Iterator[Row]:
    """An elastic job with preemptions, and a job on 16 nodes next to it."""
    until_s, rng = minutes * 60, random.Random(seed)
    elastic = plan_elastic(nodes, minutes, rng)
    jobs = [elastic, plan_fixed(nodes + SPARE, max(1, nodes // 8), minutes)]
    truth: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="wattlens-job-") as scratch:
        segments, days = Path(scratch) / "segments", Path(scratch) / "days"
        segments.mkdir()
        used = sorted({pod.node for job in jobs for pod in job.pods})
        for number, node in enumerate(used, 1):
            record_node(segments, node, gpus, jobs, until_s, seed, truth)
            if number % 32 == 0:
                say(f"{number} of {len(used)} nodes recorded")
        if main(["ledger", "compact", "--out", str(days), "--site", "fra1", str(segments)]):
            raise RuntimeError("the segments cannot be compacted")
        for job in jobs:
            address = parse_address(f"k8s/{NAMESPACE}/{job.name.partition('/')[2]}")
            yield judge(
                job,
                report_of(read_ledger(segments, 0, LATER_NS, address), address),
                report_of(read_job_days(str(days), 0, LATER_NS, address), address),
                *truth[job.name],
            )
