"""Short windows against the plant's truth, and ZeusMonitor on the same windows.

Run from the repository's root: python -m benchmarks windows [--windows 100] [--seed N] [--case h100-full]

Eight GPUs switch independently between random levels, idle among them, that hold 50 to 400 ms; windows of 100 ms, 300 ms and
1 s begin at random. Truth is the plant's, read at each edge and carried to the edge's instant by the true power. The error of a
window is that of the sum over the GPUs, against gain x truth (the value of a perfect reader of these sensors); `held` is the
share of windows whose stated edge interval holds that, `full` the share whose whole interval, gain included, holds the energy
drawn.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.runner import Row
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant

CASES = {
    "h100-full": ("H100-SXM5-80GB", "full", (3.0, 1.5, 0.5)),
    "h100-sampled": ("H100-SXM5-80GB", "sampled", (3.0, 1.5, 0.5)),
    "v100-full": ("V100-SXM2-16GB", "full", (2.0, 1.0, 0.3)),
    "v100-sampled": ("V100-SXM2-16GB", "sampled", (2.0, 1.0, 0.3)),
}
LENGTHS_S = (0.1, 0.3, 1.0)
GPUS = 8
EDGE_BAR_US = 50.0


def load(plant: Plant, seed: int) -> None:
    """Drive every GPU through random levels until killed."""
    rng = random.Random(seed)
    slots = [plant.attach_process(gpu, os.getpid(), memory_b=1 << 30) for gpu in range(plant.count)]
    due, tickets = [0.0] * plant.count, [0] * plant.count
    while os.getppid() != 1:
        now = time.monotonic()
        for gpu, slot in enumerate(slots):
            if now < due[gpu] or plant.done_ns(gpu, slot) < tickets[gpu]:
                continue
            hold_s = rng.uniform(0.05, 0.4)
            if rng.random() < 0.2:
                due[gpu] = now + hold_s
                continue
            tickets[gpu] = plant.submit(
                gpu, slot, reference_ns=round(hold_s * 1e9), memory_boundness=rng.random(), intensity=rng.uniform(0.1, 1.0)
            )
        time.sleep(0.001)


class Truths:
    """The plant's truth at instants."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    def at(self, t_ns: int) -> tuple[float, float]:
        """Energy of all GPUs at a UTC instant that has just passed, J: measured by their sensors, and true."""
        sensed = true = 0.0
        for gpu in range(self._plant.count):
            t = self._plant.truth(gpu)
            joules = t.true_uj / 1e6 - t.power_w * (t.t_ns - t_ns) / 1e9
            sensed, true = sensed + t.gain * joules, true + joules
        return sensed, true


def worker(folder: Path, windows: int, seed: int) -> dict[str, Any]:
    """Measure; the environment is that of the node."""
    from wattlens import measure

    rng = random.Random(seed)
    zeus = _zeus()
    rows: dict[str, Any] = {}
    edges: list[float] = []
    with Plant.attach(folder / "plant") as plant:
        truths = Truths(plant)
        for length_s in LENGTHS_S:
            results = []
            for _ in range(windows):
                time.sleep(rng.uniform(0.02, 0.25))
                results.append(_one(measure(f"{length_s:g} s").prepare(), truths, plant, length_s, zeus, edges))
            rows[f"{length_s:g}"] = results
    return {"rows": rows, "edges": edges}


def _one(window: Any, truths: Truths, plant: Plant, length_s: float, zeus: Any, edges: list[float]) -> dict[str, Any]:
    a = time.perf_counter()
    window.__enter__()
    b = time.perf_counter()
    start_ns = plant.now_ns() - round((time.perf_counter() - a) * 1e9 / 2)
    first = truths.at(start_ns)
    row: dict[str, Any] = {}
    if zeus is not None:
        zeus.begin_window("w", sync_execution=False)
        z0 = truths.at(plant.now_ns())
    time.sleep(max(0.0, length_s - (time.perf_counter() - a)))
    if zeus is not None:
        z1 = truths.at(plant.now_ns())
        peer = sum(zeus.end_window("w", sync_execution=False).gpu_energy.values())
        row["zeus"] = (peer, z1[0] - z0[0])
    c = time.perf_counter()
    window.__exit__()
    d = time.perf_counter()
    last = truths.at(start_ns + round(window.seconds * 1e9))
    edges += [(b - a) * 1e6, (d - c) * 1e6]
    asked = time.perf_counter()
    joules = window.joules
    row |= {"joules": joules, "reason": window.reason, "waited_ms": (time.perf_counter() - asked) * 1e3}
    row |= {"edge": window.edge_joules, "low": window.low, "high": window.high}
    return row | {"sensed": last[0] - first[0], "true": last[1] - first[1]}


def _zeus() -> Any:
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return None
    return ZeusMonitor(gpu_indices=list(range(GPUS)), cpu_indices=[])


def judge(length_s: str, rows: list[Row], bar: float) -> Row:
    """Figures of the windows of one length."""
    read = [r for r in rows if r["joules"] is not None]
    errors = [r["joules"] - r["sensed"] for r in read]
    sizes = sorted(map(abs, errors))
    peers = [abs(r["zeus"][0] - r["zeus"][1]) / r["zeus"][1] for r in read if "zeus" in r]
    percent = 100 * median(abs(e) / r["sensed"] for e, r in zip(errors, read, strict=True))
    return {
        "length_s": length_s,
        "windows": len(rows),
        "read": len(read),
        "median_percent": percent,
        "bar": bar,
        "zeus_percent": 100 * median(peers) if peers else None,
        "held": fmean(abs(e) <= r["edge"] for e, r in zip(errors, read, strict=True)),
        "full": fmean(r["low"] <= r["true"] <= r["high"] for r in read),
        "width": fmean(r["edge"] for r in read) / sizes[int(0.95 * len(sizes))],
        "waited_ms": max(r["waited_ms"] for r in read),
        "ok": percent <= bar and len(read) == len(rows),
    }


def run(case: tuple[str, ...] = tuple(CASES), windows: int = 100, seed: int = 1) -> Iterator[Row]:
    """Cases one after another, each on a separate node."""
    for name in case:
        sku, model, bars = CASES[name]
        with tempfile.TemporaryDirectory(prefix="wattlens-windows-") as folder:
            specs = [BoardSpec(sku, counter_model="full" if model == "full" else "sampled")] * GPUS
            Plant.create(Path(folder) / "plant", specs, seed=seed).close()
            environ = os.environ | {"WATTLENS_SIM": folder, "LD_LIBRARY_PATH": str(library_path().parent)}
            command = [sys.executable, "-m", "benchmarks.windows", folder, str(seed)]
            driver = subprocess.Popen(command, env=environ)
            try:
                done = subprocess.run([*command, str(windows)], env=environ, stdout=subprocess.PIPE, check=True)
            finally:
                driver.kill()
                driver.wait()
        results: Row = json.loads(done.stdout.splitlines()[-1])
        for (length_s, rows), bar in zip(results["rows"].items(), bars, strict=True):
            yield {"case": name} | judge(length_s, rows, bar)
        edges_us = sorted(results["edges"])
        middle_us, p99_us = median(edges_us), edges_us[int(len(edges_us) * 0.99)]
        yield {"case": name, "enter_exit_median_us": middle_us, "p99_us": p99_us, "ok": middle_us <= EDGE_BAR_US}


if __name__ == "__main__":
    place, draw, *count = sys.argv[1:]
    if count:
        print(json.dumps(worker(Path(place), int(count[0]), int(draw))))
    else:
        with Plant.attach(Path(place) / "plant") as driven:
            load(driven, int(draw))
