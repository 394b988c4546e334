"""Attribution of the energy of shared GPUs, compared with the simulator's truth per process in random scenarios.

Run from the repository's root: python -m benchmarks attribution [--seconds 120] [--nodes 12] [--seed N]

Simulated nodes with GPUs of five models run two to seven real processes on each GPU, which are really killed: steady, bursty
with random on and off times, starting and stopping within the run. GPUs are time-sliced, shared by MPS, or in MIG mode with
instances of random sizes and one process on each, as schedulers give them. The sum of a process's entries, corrected for gain,
is compared with its true energy: `SlotTruth`'s energy while its work ran, and its part of the idle energy while it was attached
to the GPU or instance.

`active` compares shares of the energy while work ran; `all` the joules. Both are relative, of processes that used at least a
twentieth of what all of their GPU did. Kernels of one GPU draw alike (`alike`; `busy`: and never rest), or differ in intensity
and memory-boundness (`differing`): NVML reports how long a process ran, not how much power its kernels drew. Cases that NVML
does not resolve have no bar: kernels that differ, MPS, MIG by slice (before Hopper) with idle instances.
"""

import math
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.runner import Row
from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.core.energy import DeviceInfo, Entry, Identity, State
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.owners.processes import ProcessOwners
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant

SECOND = 10**9
STEP_NS = 50_000_000
LIST_EVERY = 5
LEAST_SHARE = 0.05
BARS = {
    ("time-sliced", "alike"): 0.10,
    ("time-sliced", "busy"): 0.10,
    ("mig by activity", "alike"): 0.15,
    ("mig by activity", "busy"): 0.15,
    ("mig by slice", "busy"): 0.15,
}
"""Of 95 in 100 processes: of joules, and where the GPU is time-sliced of the share of active energy as well."""
KERNELS = ("busy", "alike", "differing")
MODES = ("time-sliced", "mps", "mig by activity", "mig by slice")
SKUS = {
    "time-sliced": ("V100-SXM2-16GB", "A100-SXM4-80GB", "H100-SXM5-80GB", "L40S", "B200"),
    "mps": ("A100-SXM4-80GB", "H100-SXM5-80GB", "H200-SXM"),
    "mig by activity": ("H100-SXM5-80GB", "H200-SXM", "B200"),
    "mig by slice": ("A100-SXM4-80GB",),
}
LAYOUTS = (7, 3211, 322, 43, 3111, 2221, 34, 421)


@dataclass(slots=True)
class BurstyProcess:
    """One process: on and off for random times around a mean (0 off: steady), within [start_s, stop_s)."""

    start_s: float
    stop_s: float
    on_s: float
    off_s: float
    boundness: float
    intensity: float
    process: subprocess.Popen[bytes] | None = None
    slot: int = -1
    workload: str = ""
    ticket: int = 0
    until_s: float = 0.0
    on: bool = False
    ended: bool = False
    active_uj: int = 0
    idle_uj: int = 0


@dataclass(slots=True)
class LoadedGpu:
    """A GPU of a node with its processes."""

    index: int
    mode: str
    kernels: str
    sku: str
    layout: int
    loads: list[BurstyProcess] = field(default_factory=list)


def run(seconds: float = 120.0, nodes: int = 12, seed: int = 1) -> Iterator[Row]:
    """Drive the nodes one after another and compare. Errors are shares of 1."""
    errors: dict[tuple[str, str], list[tuple[float, float]]] = {}
    exact: dict[tuple[str, str], list[bool]] = {}
    for node in range(nodes):
        rng = random.Random(f"{seed}/{node}")
        gpus = list(_gpus(rng, seconds, node))
        booked, conserved = _node(gpus, seed * 1000 + node, seconds, rng)
        for gpu in gpus:
            exact.setdefault((gpu.mode, gpu.kernels), []).append(conserved[gpu.index])
            errors.setdefault((gpu.mode, gpu.kernels), []).extend(_errors(gpu, booked[gpu.index]))
    for key in sorted(errors, key=lambda k: (MODES.index(k[0]), KERNELS.index(k[1]))):
        row: Row = dict(zip(("mode", "kernels", "gpus", "processes"), (*key, len(exact[key]), len(errors[key])), strict=True))
        for i, name in enumerate(("active", "all")):
            sizes = [abs(e[i]) for e in errors[key]]
            row |= {f"{name}_median": median(sizes), f"{name}_p95": _p95(sizes), f"{name}_worst": max(sizes)}
        most = row["all_p95"] if key[0].startswith("mig") else max(row["active_p95"], row["all_p95"])
        yield row | {"conserved": all(exact[key]), "ok": all(exact[key]) and most <= BARS.get(key, math.inf)}


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def _gpus(rng: random.Random, seconds: float, node: int) -> Iterator[LoadedGpu]:
    index = 0
    for mode in MODES:
        for kernels in KERNELS:
            skus = SKUS[mode]
            sku = skus[node % len(skus)]
            layout = rng.choice(LAYOUTS) if mode.startswith("mig") else 0
            gpu = LoadedGpu(index, mode, kernels, sku, layout)
            bound, strong = rng.uniform(0.1, 0.9), rng.uniform(0.6, 1.0)
            most = layout if layout <= 7 and layout else len(str(layout)) if layout else 7
            for n in range(rng.randint(2, most)):
                if kernels == "differing":
                    bound, strong = rng.uniform(0.0, 1.0), rng.uniform(0.4, 1.0)
                comes = rng.random() < 0.3 and n > 0
                leaves = rng.random() < 0.3 and n > 0
                start = rng.uniform(0.1, 0.4) * seconds if comes else 0.0
                stop = rng.uniform(0.6, 0.9) * seconds if leaves else seconds * 2
                off = 0.0 if kernels == "busy" or rng.random() < 0.4 else rng.choice((0.3, 1.0, 4.0)) * rng.uniform(0.5, 1.5)
                on = rng.choice((0.2, 1.0, 5.0)) * rng.uniform(0.5, 1.5)
                gpu.loads.append(BurstyProcess(start, stop, on, off, bound, strong))
            yield gpu
            index += 1


def _node(gpus: list[LoadedGpu], seed: int, seconds: float, rng: random.Random) -> tuple[list[list[Entry]], list[bool]]:
    """Entries of each GPU, and whether they sum to its counter."""
    with tempfile.TemporaryDirectory(prefix="wattlens-attribution-") as folder:
        specs = [BoardSpec(gpu.sku) for gpu in gpus]
        os.environ["WATTLENS_SIM"] = folder
        with Plant.create(Path(folder) / "plant", specs, seed=seed, manual=True) as plant:
            for gpu in gpus:
                if gpu.layout:
                    plant.fault(gpu.index, "mig", value=gpu.layout)
                if gpu.mode == "mps":
                    plant.fault(gpu.index, "mps", value=rng.choice((20, 35, 60)))
            nvml = RealNvml(library_path())
            nvml.init()
            try:
                return _watch(plant, nvml, gpus, SimulatedClock(Path(folder) / "plant"), seconds, rng)
            finally:
                for load in (load for gpu in gpus for load in gpu.loads if load.process is not None):
                    load.process.kill()
                    load.process.wait()
                nvml.shutdown()
                del os.environ["WATTLENS_SIM"]


def _watch(
    plant: Plant, nvml: RealNvml, gpus: list[LoadedGpu], clock: SimulatedClock, seconds: float, rng: random.Random
) -> tuple[list[list[Entry]], list[bool]]:
    readers = [
        DeviceReader(nvml, nvml.device_by_index(g.index), clock, lambda _: None, gpm=g.mode == "mig by activity") for g in gpus
    ]
    infos: dict[str, DeviceInfo] = {reader.uuid: reader.info for reader in readers}
    identity = Identity("c", "n", "boot", "0", simulated=True)
    accountant = Accountant(identity, ProcessOwners(Path("/proc")), SensorFor(2_500_000_000), {}, 0.05)
    began_ns, first = plant.now_ns(), {}
    entries: list[Entry] = []
    _drive(plant, gpus, 0.0, rng)
    plant.advance_to(began_ns + SECOND)
    relist = False
    for second in range(1, round(seconds)):
        samples = [reader.read(full=True, list_processes=relist or second % LIST_EVERY == 1) for reader in readers]
        if second == 1:  # truth and ledger begin together
            first = {s.uuid: s.energy_mj for s in samples}
            base = _truths(plant, gpus)
        relist = accountant.feed(samples, infos)
        entries += accountant.batch().entries
        accountant.committed()
        if second == round(seconds) - 1:
            break
        for step in range(SECOND // STEP_NS):
            _drive(plant, gpus, second + step * STEP_NS / SECOND, rng)
            plant.advance_to(began_ns + second * SECOND + (step + 1) * STEP_NS)
    last = {s.uuid: s.energy_mj for s in samples}
    for key, (active, idle) in _truths(plant, gpus).items():
        load = gpus[key[0]].loads[key[1]]
        load.active_uj, load.idle_uj = active - base.get(key, (0, 0))[0], idle - base.get(key, (0, 0))[1]
    for reader in readers:
        reader.close()
    split = [[e for e in entries if e.device == reader.uuid] for reader in readers]
    exact = [
        sum(e.energy_uj for e in device_entries) == ((last[r.uuid] or 0) - (first[r.uuid] or 0)) * 1000
        for device_entries, r in zip(split, readers, strict=True)
    ]
    return split, exact


def _truths(plant: Plant, gpus: list[LoadedGpu]) -> dict[tuple[int, int], tuple[int, int]]:
    """True uJ of each load so far, with the gain of the GPU's sensor."""
    truths_uj = {}
    for gpu in gpus:
        truth = plant.truth(gpu.index)
        slots = {s.slot: s for s in truth.slots}
        for place, load in enumerate(gpu.loads):
            if load.slot >= 0:
                slot = slots[load.slot]
                truths_uj[gpu.index, place] = round(slot.active_uj * truth.gain), round(slot.idle_uj * truth.gain)
    return truths_uj


def _drive(plant: Plant, gpus: list[LoadedGpu], now_s: float, rng: random.Random) -> None:
    """Start, stop and feed the processes."""
    for gpu in gpus:
        for load in gpu.loads:
            if load.ended or now_s < load.start_s:
                continue
            if load.process is None:
                load.process = subprocess.Popen(["sleep", "infinity"])
                load.slot = plant.attach_process(gpu.index, load.process.pid, memory_b=1 << 30)
                started = ProcessOwners(Path("/proc")).start_time(load.process.pid)
                load.workload = f"process-sleep-{load.process.pid}-{started}"
            if now_s >= load.stop_s:
                load.ended = True
                plant.detach_process(gpu.index, load.slot)
                load.process.kill()
                load.process.wait()
                continue
            if load.off_s and now_s >= load.until_s:
                load.on = not load.on
                load.until_s = now_s + rng.expovariate(1 / (load.on_s if load.on else load.off_s))
            if load.on or not load.off_s:
                _feed(plant, gpu.index, load)


def _feed(plant: Plant, gpu: int, load: BurstyProcess) -> None:
    ahead_ns = 2 * STEP_NS  # a little more than the next step can do
    done = plant.done_ns(gpu, load.slot)
    missing = ahead_ns - (load.ticket - done)
    if missing > 0:
        load.ticket = plant.submit(
            gpu, load.slot, reference_ns=missing, memory_boundness=load.boundness, intensity=load.intensity
        )


def _errors(gpu: LoadedGpu, entries: list[Entry]) -> Iterator[tuple[float, float]]:
    """Relative errors of each process that counts: of its share of active energy, and of its joules."""
    active: dict[str, int] = {}
    whole: dict[str, int] = {}
    for entry in entries:
        if entry.workload:
            whole[entry.workload] = whole.get(entry.workload, 0) + entry.energy_uj
            if entry.state is State.ACTIVE:
                active[entry.workload] = active.get(entry.workload, 0) + entry.energy_uj
    true_active = sum(load.active_uj for load in gpu.loads)
    true_whole = sum(load.active_uj + load.idle_uj for load in gpu.loads)
    booked_active = sum(active.values())
    for load in gpu.loads:
        if load.active_uj + load.idle_uj < LEAST_SHARE * true_whole:
            continue
        share = active.get(load.workload, 0) / booked_active / (load.active_uj / true_active) - 1
        joules = whole.get(load.workload, 0) / (load.active_uj + load.idle_uj) - 1
        yield share, joules
