"""The fleet of the sample report in whole numbers: three sites, four nodes, fourteen GPUs, two quarters; deterministic.

The product's own ledger records the energy of each workload on each GPU in each cell of 15 minutes and seals it as agents do,
one segment per day, so that the sample consists of the files of a real fleet. `sample_report` creates the report from it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import sample_proof
from benchmarks.chain import SegmentChainWriter
from energy_agent.core import boundary
from energy_agent.core.energy import REQUEST, Action, Entry, Gap, Identity, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.core.proof import ProofRow
from energy_agent.core.units import NS_PER_S, split_integer
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts

CLUSTER: Final = "prod"
DAY_NS: Final = 96 * CELL_NS
FIRST_NS: Final = 1_774_915_200 * NS_PER_S  # 2026-03-31T00:00Z: the day in which both quarters begin in Kolkata and Berlin
DAYS: Final = 184  # up to and with 2026-09-30
JULY: Final = 92  # days from the first to 2026-07-01
GPU_SKU, HOST_SKU, PART_SKU = "NVIDIA H100 80GB HBM3", "node meter", "RAPL"
_SECONDS: Final = 900
_W: Final = _SECONDS * 1_000_000  # uJ of a watt over a cell
_OUTAGE: Final = (134, 16, 26)  # 2026-08-12, 04:00 to 06:30Z: a node rebooted
_HUNG: Final = (167, 44, 47)  # 2026-09-14, 11:00 to 11:45Z: the building's main meter hung

BUSY: Final = (22, 18, 16, 15, 16, 20, 30, 44, 60, 72, 78, 80, 76, 78, 80, 79, 75, 70, 66, 62, 54, 44, 34, 27)
"""Percent of an hour (UTC) in which an engine works."""
WARM: Final = (6, 5, 4, 3, 3, 4, 6, 9, 12, 15, 18, 20, 22, 23, 23, 22, 20, 18, 16, 14, 12, 10, 8, 7)
"""Percent more that cooling takes in an hour of a hot day."""


class ScheduledWorkload(NamedTuple):
    """A workload of one node: its GPUs, days and hours, activity and output."""

    name: str
    gpus: tuple[int, ...]
    labels: dict[str, str]
    days: tuple[int, int]
    hours: tuple[int, int] = (0, 24)
    busy: int = 0  # percent of the time; 0: as BUSY has it
    active_w: int = 520
    mj_token: int = 0  # GPU energy of a token in its active time, millijoules; 0: no tokens
    tokens_request: int = 0  # mean number of generated tokens of a request
    mj_request: int = 0  # GPU energy of a request of a server that generates nothing
    step_j: int = 0  # energy of a training step; 0: it does not train
    workdays: bool = False
    kind: str = "pod"

    def holds(self, day: int, cell: int) -> bool:
        """Whether it holds its GPUs in a cell of a day."""
        hour, weekday = cell // 4, (day + 1) % 7  # the first day is a Tuesday
        return (
            self.days[0] <= day < self.days[1] and self.hours[0] <= hour < self.hours[1] and (weekday < 5 or not self.workdays)
        )


def _pod(namespace: str, pod: str, project: str, model: str = "", precision: str = "", price_class: str = "") -> dict[str, str]:
    labels = {"namespace": namespace, "pod": pod, "project": project, "model": model}
    labels |= {"precision": precision, "class": price_class}
    return {key: value for key, value in labels.items() if value}


def _account(name: str) -> dict[str, str]:
    return {"account": "vision", "project": "perception", "name": name}


NODES: Final = {
    "gpu-a1": (
        ScheduledWorkload("pod:chat-70b", (0, 1), _pod("assistants", "chat-70b-0", "chat", "llama-3.1-70b", "fp8", "priority"),
                          (0, DAYS), mj_token=1_150, tokens_request=412),
        ScheduledWorkload("pod:chat-8b", (2,), _pod("assistants", "chat-8b-0", "search", "llama-3.1-8b", "bf16"), (0, DAYS),
                          active_w=430, mj_token=240, tokens_request=188),
        ScheduledWorkload("pod:notebook", (3,), _pod("research", "notebook-7", "exploration"), (0, DAYS), (7, 19), 6, 310,
                          workdays=True),
    ),
    "gpu-a2": (
        ScheduledWorkload("slurm:4811", (0, 1, 2, 3), _account("pretrain-spring"), (31, 81), busy=96, active_w=655,
                          step_j=5_200, kind="slurm"),
        ScheduledWorkload("slurm:5020", (0, 1, 2, 3), _account("pretrain-summer"), (97, 151), busy=97, active_w=640,
                          step_j=5_050, kind="slurm"),
        ScheduledWorkload("pod:safety-tune", (0, 1), _pod("research", "safety-tune-2", "safety"), (158, 176), busy=91,
                          active_w=600, step_j=2_400),
    ),
    "gpu-p1": (
        ScheduledWorkload("pod:translate", (0, 1), _pod("language", "translate-1", "translation", "qwen2.5-7b", "int8"),
                          (0, DAYS), active_w=390, mj_token=310, tokens_request=95),
        ScheduledWorkload("pod:eval", (2,), _pod("research", "eval-batch", "evaluation", price_class="spot"), (0, DAYS),
                          (17, 24), 83, 450),
        ScheduledWorkload("pod:speech", (3,), _pod("language", "speech-0", "speech"), (JULY + 33, DAYS), busy=38, active_w=340),
    ),
    "gpu-l1": (
        ScheduledWorkload("pod:embed", (0,), _pod("search", "embed-0", "retrieval", "bge-m3", "fp16"), (JULY - 2, DAYS),
                          active_w=310, mj_request=1_900),
    ),
}  # fmt: skip
GPUS: Final = {"gpu-l1": 2}
"""Number of GPUs of a node; 4 if it is not here."""
INSTALLED: Final = {"gpu-l1": JULY - 2}
"""First day of a node; 0 if it is not here."""
RAPL_FROM: Final = {"gpu-l1": JULY + 45}
"""Nodes without a meter of the whole node, and the day from which the agent may read their processor packages."""


def device(node: str, gpu: int) -> str:
    """A GPU's UUID."""
    return f"GPU-{node[4:]}{gpu:06d}-0000-4000-8000-{gpu:012d}"


STEERED: Final = {
    "gpu-a2": sample_proof.SampleExperiment(
        "pretrain", "slurm:5020", "progress", tuple(device("gpu-a2", gpu) for gpu in range(4)), (97, 151), 3, (0, 12), 640,
        less_ppm=80_000, work_ppm=507_000, slower_ppm=11_000, wait_us=0, setting='{"sm_clock_mhz":1395}',
    ),
    "gpu-p1": sample_proof.SampleExperiment(
        "translate", "pod:translate", "slo", tuple(device("gpu-p1", gpu) for gpu in range(2)), (120, 170), 5, (13, 16), 330,
        less_ppm=60_000, work_ppm=2_100_000_000, slower_ppm=24_000, wait_us=18_000, setting='{"sm_clock_mhz":1500}',
    ),
}  # fmt: skip
"""What steers a node's GPUs for a while, by node."""
SITE_OF: Final = {"gpu-a1": "fra1", "gpu-a2": "fra1", "gpu-p1": "pnq1", "gpu-l1": "par1"}
METERS: Final = (
    MeterFacts("main", Role.TOTAL, None, "", "", 5_000, "", 40_000_000, "modbus"),
    MeterFacts("ups-a", Role.IT, Position.UPS_OUTPUT, "main", "", 10_000, "", 20_000_000, "snmp"),
    MeterFacts("chiller", Role.COOLING, None, "main", "", 20_000, "", 15_000_000, "modbus"),
)


class CellEntries(NamedTuple):
    """Energy of a node in one cell, and all ledger entries of it."""

    start_ns: int
    entries: list[Entry]
    gaps: list[Gap]
    tokens: list[Tokens]
    steps: list[Steps]
    node_uj: int


def node_cells(node: str, day: int) -> Iterator[CellEntries]:
    """The cells of a node's day."""
    for number in range(96):
        start = FIRST_NS + day * DAY_NS + number * CELL_NS
        if node == "gpu-a2" and day == _OUTAGE[0] and _OUTAGE[1] <= number < _OUTAGE[2]:
            bounds = [(device(node, g), 700) for g in range(4)] + [(boundary.host(CLUSTER, node), 900)]
            gaps = [Gap(name, start, start + CELL_NS, watts * _W, "reboot") for name, watts in bounds]
            yield CellEntries(start, [], gaps, [], [], 0)
        else:
            yield _cell(node, day, number, start)


def _cell(node: str, day: int, number: int, start: int) -> CellEntries:
    entries: list[Entry] = []
    tokens: list[Tokens] = []
    steps: list[Steps] = []
    holders: dict[str, int] = {}
    gpus = GPUS.get(node, 4)
    total, free = 0, set(range(gpus))
    for order, job in enumerate(NODES[node]):
        if not job.holds(day, number):
            continue
        percent = job.busy or BUSY[number // 4] - (14 if (day + 1) % 7 > 4 else 0) + (5 if day >= JULY else 0)
        percent = max(2, min(99, percent + (day * 7 + number * 3 + order) % 5 - 2))
        active_s = _SECONDS * percent // 100
        active_uj = 0
        for gpu in job.gpus:
            watts = job.active_w + (number * 5 + gpu * 3 + day) % 11
            busy, idle = watts * active_s * 1_000_000 + gpu * 1_009, (96 + gpu) * (_SECONDS - active_s) * 1_000_000
            entries += _workload_entries(device(node, gpu), job.name, start, active_s, busy, idle)
            active_uj += busy
            total += busy + idle
            free.discard(gpu)
        holders[job.name] = len(job.gpus)
        if job.mj_token:
            per_uj = job.mj_token * (1_000 if day < JULY else 955)  # an engine's new release in July
            generated_tokens = active_uj // per_uj
            model = job.labels["model"]
            tokens.append(Tokens(start, start + CELL_NS, job.name, model, "generation", generated_tokens))
            tokens.append(Tokens(start, start + CELL_NS, job.name, model, "prompt", generated_tokens * 3))
            if day >= JULY:  # that release counts requests
                tokens.append(Tokens(start, start + CELL_NS, job.name, model, REQUEST, generated_tokens // job.tokens_request))
        if job.mj_request:
            ended = active_uj // (job.mj_request * 1_000)
            tokens.append(Tokens(start, start + CELL_NS, job.name, job.labels["model"], REQUEST, ended))
        if job.step_j:
            steps.append(Steps(start, start + CELL_NS, job.name, "training", active_uj // (job.step_j * 1_000_000)))
    for gpu in sorted(free):
        used = (71 + gpu) * _W
        entry_fields = (device(node, gpu), "", State.UNALLOCATED, Method.COUNTER, used, 30_000_000)
        entries.append(Entry(start, start + CELL_NS, *entry_fields))
        total += used
    host_uj = (360 + 55 * (gpus - len(free)) + (day * 5 + number) % 17) * _W
    if node not in RAPL_FROM:
        entries += _host(boundary.host(CLUSTER, node), start, host_uj, holders)
    elif day >= RAPL_FROM[node]:
        for part in _packages(node):
            entries += _host(part, start, host_uj // 3, holders)
    return CellEntries(start, entries, [], tokens, steps, total + host_uj)


def _workload_entries(name: str, workload: str, start: int, active_s: int, busy: int, idle: int) -> Iterator[Entry]:
    middle = start + active_s * NS_PER_S
    counter, edge = Method.COUNTER, 30_000_000
    yield Entry(start, middle, name, workload, State.ACTIVE, counter, busy, edge, middle - start)
    yield Entry(middle, start + CELL_NS, name, workload, State.IDLE, counter, idle, edge, start + CELL_NS - middle)


def _packages(node: str) -> list[str]:
    return [boundary.part(boundary.host(CLUSTER, node), f"package-{number}") for number in range(2)]


def _host(name: str, start: int, host_uj: int, holders: dict[str, int]) -> Iterator[Entry]:
    edge = 360_000_000
    if not holders:
        yield Entry(start, start + CELL_NS, name, "", State.UNALLOCATED, Method.COUNTER, host_uj, edge)
        return
    weights = list(holders.values())
    shares = zip(holders, split_integer(host_uj, weights), split_integer(edge, weights), strict=True)
    for holder, uj, of in shares:
        yield Entry(start, start + CELL_NS, name, holder, State.ACTIVE, Method.COUNTER, uj, of)


def write_node(folder: Path, node: str) -> list[int]:
    """Write a node's segments, a day each; its energy by cell, uJ."""
    first = INSTALLED.get(node, 0)
    since = FIRST_NS + first * DAY_NS
    devices = [DeviceFacts(device(node, g), GPU_SKU, 0.02, since, "gpu:stated") for g in range(GPUS.get(node, 4))]
    if node in RAPL_FROM:
        devices += [DeviceFacts(part, PART_SKU, 0.05, since) for part in _packages(node)]
    else:
        devices.append(DeviceFacts(boundary.host(CLUSTER, node), HOST_SKU, 0.02, since))
    facts = [WorkloadFacts(job.name, since, job.kind, job.labels) for job in NODES[node]]
    chain, energy = SegmentChainWriter(folder, Identity(CLUSTER, node, "boot-1", "0.1.0", True)), list[int]()
    proof = _proof(node)
    for day in range(first, DAYS):
        cells = list(node_cells(node, day))
        energy += [cell.node_uj for cell in cells]
        booked = Batch(
            entries=[e for c in cells for e in c.entries], gaps=[g for c in cells for g in c.gaps],
            tokens=[t for c in cells for t in c.tokens], steps=[s for c in cells for s in c.steps],
            actions=_actions(node, day), rows=proof.get(day, ()),
            facts=facts if day == first else (), devices=devices if day == first else (),
        )  # fmt: skip
        chain.add(booked)
    return energy


def _actions(node: str, day: int) -> list[Action]:
    """What DVFS set on a node's day, and put back."""
    at, actions = FIRST_NS + day * DAY_NS + 5 * NS_PER_S, []
    steered = STEERED.get(node)
    if steered is not None and steered.is_steered_on(day):
        start_ns, end_ns = steered.times_ns(FIRST_NS, day)
        for gpu in steered.devices:
            actions.append(Action(start_ns, gpu, steered.policy, "set", steered.setting, "ok", steered.workload))
            actions.append(Action(end_ns, gpu, steered.policy, "restore", "{}", "ok", steered.workload))
    if node == "gpu-a1" and day in (110, 141):
        actions.append(Action(at, device(node, 0), "slo", "refuse", '{"sm_clock_mhz":1200}', "latency budget", "pod:chat-70b"))
    return actions


def _proof(node: str) -> dict[int, list[ProofRow]]:
    """The rows that prove what steering saved on a node, by day."""
    rows_by_day: dict[int, list[ProofRow]] = {}
    for row in sample_proof.rows(STEERED[node], FIRST_NS, DAYS) if node in STEERED else ():
        rows_by_day.setdefault((row.t_ns - FIRST_NS) // DAY_NS, []).append(row)
    return rows_by_day


def write_site(folder: Path, node_uj: list[int]) -> None:
    """Write the segments of fra1's meters over the energy of its nodes by cell."""
    first = {m.id: boundary.meter("fra1", m.id) for m in METERS}
    facts = [WorkloadFacts(first[m.id], FIRST_NS, METER_KIND, m.labels) for m in METERS]
    devices = [DeviceFacts(first[m.id], f"meter {m.source}", m.accuracy_ppm / 1_000_000, FIRST_NS) for m in METERS]
    chain = SegmentChainWriter(folder, Identity(CLUSTER, "fra1", "boot-1", "0.1.0", True))
    for day in range(DAYS):
        entries, gaps = list[Entry](), list[Gap]()
        for number in range(96):
            start = FIRST_NS + day * DAY_NS + number * CELL_NS
            it = node_uj[day * 96 + number] + 640 * _W  # plus the other IT equipment
            hot = WARM[number // 4] * max(0, 100 - abs(day - 115)) // 100
            cooling = it * (15 + hot) // 100
            energy_uj = {"ups-a": it, "chiller": cooling, "main": it * 105 // 100 + cooling + 180 * _W}
            for name, uj in energy_uj.items():
                if name == "main" and day == _HUNG[0] and _HUNG[1] <= number < _HUNG[2]:
                    reason = "its register stood still while energy flowed"
                    gaps.append(Gap(first[name], start, start + CELL_NS, 40_000 * _W, reason))
                    continue
                entry_fields = (first[name], "", State.UNALLOCATED, Method.COUNTER, uj, 3_600_000_000, CELL_NS)
                entries.append(Entry(start, start + CELL_NS, *entry_fields))
        chain.add(Batch(entries, gaps, facts=facts if day == 0 else (), devices=devices if day == 0 else ()))


def write(folder: Path) -> None:
    """Write every segment of the fleet into a folder."""
    folder.mkdir(parents=True)
    energy = {node: write_node(folder, node) for node in NODES}
    write_site(folder, [sum(pair) for pair in zip(energy["gpu-a1"], energy["gpu-a2"], strict=True)])
