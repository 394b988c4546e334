"""Joules per token from the agent's `/metrics` over windows of a minute, compared with the sensors' ideal values.

Run from the repository's root: python -m benchmarks energy_per_token [--windows 5] [--window-s 60]

Eight engines on GPUs of three generations, each with its own load, whose metrics endpoints the agent reads. At each mark the
agent's `/metrics` is read, and the engines' counters and the plant's truth are taken at the instant of its last reading of the
GPUs; a window is the difference of two marks. Its truth is the sensor's gain times the energy really drawn, over the tokens
that the engines counted. One engine is killed and starts again in the third window; a second scraper reads `/metrics` at 10 Hz
all the time. The bar: every window is within 1 %. The window of the restart is separate: it lacks the dead engine's unpublished
tokens.
"""

import os
import signal
import threading
import time
import urllib.request
from bisect import bisect_right
from collections.abc import Sequence

from benchmarks.runner import Row
from benchmarks.running import AgentProcess, Series, running_agent, simulated
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode
from tests.support import free_port

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
BOARDS = [
    {"count": 3, "sku": "H100-SXM5-80GB", "counter_model": "full"},
    {"count": 2, "sku": "H100-SXM5-80GB", "counter_model": "sampled"},
    {"count": 2, "sku": "A100-SXM4-80GB"},
    {"count": 1, "sku": "H200-SXM"},
]
LOADS = [
    (4.0, "poisson"),
    (8.0, "bursty"),
    (1.0, "poisson"),
    (6.0, "bursty"),
    (2.0, "poisson"),
    (2.0, "bursty"),
    (3.0, "poisson"),
    (9.0, "bursty"),
]
KILLED, KILLED_IN = "engine-1", 2
BAR = 0.01
RECORD_S = 1.5
GENERATED = "vllm:generation_tokens_total{"


def engines() -> list[Row]:
    """The node's workloads; an engine keeps its port when it starts again."""
    common = {"kind": "serving", "model": MODEL, "restart": "on-failure"}
    return [
        {"name": f"engine-{k}", "gpus": [k], "metrics_port": free_port(), "rate_per_s": rate, "arrivals": kind, **common}
        for k, (rate, kind) in enumerate(LOADS)
    ]


Point = tuple[float, float, float, float]
"""UTC s, J of an ideal sensor, J really drawn, tokens generated."""


class Marks:
    """The agent's `/metrics` response, and the truth at the instant of its last commit, which the response describes."""

    def __init__(self, node: SimulatedNode, plant: Plant, agent: AgentProcess) -> None:
        self._plant, self._agent = plant, agent
        self._urls = {w["name"]: w["metrics_url"] for w in node.state()["workloads"]}
        self._before_restart: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def read(self) -> dict[str, tuple[float, float, float, float, float]]:
        """By engine: J and tokens of the agent, J of an ideal sensor, J really drawn, tokens of the engine."""
        points: dict[str, list[Point]] = {name: [] for name in self._urls}
        end_s = time.monotonic() + RECORD_S
        while time.monotonic() < end_s:
            for k, name in enumerate(self._urls):
                points[name].append(self._point(k, name))
            time.sleep(0.02)
        page = self._agent.page()
        as_of_s = page["wattlens_source_last_success_timestamp_seconds", (("source", "nvml"),)]
        return {
            name: (
                _sum(page, "wattlens_workload_energy_joules_total", name),
                _sum(page, "wattlens_tokens_total", name, phase="generation"),
                *(_at(seen, as_of_s, column) for column in (1, 2, 3)),
            )
            for name, seen in points.items()
        }

    def _point(self, gpu: int, name: str) -> Point:
        truth = self._plant.truth(gpu)
        joules = truth.true_uj / UJ_PER_J
        tokens = self._tokens(name)
        return (truth.t_ns / NS_PER_S, truth.gain * joules, joules, tokens)

    def _tokens(self, name: str) -> int:
        """Tokens across restarts: a counter that decreased was reset."""
        try:
            with urllib.request.urlopen(self._urls[name], timeout=2) as answer:
                text = answer.read().decode()
            now = int(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(GENERATED)))
        except OSError:
            now = self._last.get(name, 0)
        if now < self._last.get(name, 0):
            self._before_restart[name] = self._before_restart.get(name, 0) + self._last[name]
        self._last[name] = now
        return self._before_restart.get(name, 0) + now


def _at(points: Sequence[Point], t_s: float, column: int) -> float:
    """A column at an instant, linear between the points around it."""
    k = min(max(bisect_right(points, t_s, key=lambda p: p[0]), 1), len(points) - 1)
    before, after = points[k - 1], points[k]
    share = min(1.0, max(0.0, (t_s - before[0]) / (after[0] - before[0])))
    return before[column] + share * (after[column] - before[column])


def _sum(page: Series, metric: str, workload: str, **labels: str) -> float:
    wanted = {("workload", workload), *labels.items()}
    return sum(v for (name, have), v in page.items() if name == metric and wanted <= set(have))


def run(windows: int = 5, window_s: float = 60.0) -> Row:
    """All windows of all engines."""
    rows = []
    with simulated({"boards": BOARDS, "workloads": engines()}) as (home, node), node.plant() as plant:
        config = {"tokens": [{"workload": w["name"], "url": w["metrics_url"]} for w in node.state()["workloads"]]}
        with running_agent(node, home / "state", config) as agent:
            ended = threading.Event()
            threading.Thread(target=_scrape, args=(agent, ended), daemon=True).start()
            time.sleep(15)
            marks = Marks(node, plant, agent)
            before = marks.read()
            for window in range(windows):
                if window == KILLED_IN:
                    time.sleep(window_s / 3)
                    victim = next(w for w in node.state()["workloads"] if w["name"] == KILLED)
                    marks.read()  # so that the engine's count until now is not lost
                    os.kill(victim["pid"], signal.SIGKILL)
                time.sleep(window_s * (2 / 3 if window == KILLED_IN else 1))
                after = marks.read()
                rows += [_row(name, window, before[name], after[name]) for name in after]
                before = after
            ended.set()
    return _figures(rows)


def _scrape(agent: AgentProcess, ended: threading.Event) -> None:
    while not ended.wait(0.1):
        try:
            agent.page()
        except OSError:
            continue


def _row(name: str, window: int, before: tuple[float, ...], after: tuple[float, ...]) -> tuple[bool, float, bool]:
    """Whether the engine was restarted in the window, the error, and whether the sensors' band holds the truth."""
    joules, tokens, ideal_j, true_j, counted = (b - a for a, b in zip(before, after, strict=True))
    per_token, ideal, true = joules / tokens, ideal_j / counted, true_j / counted
    return name == KILLED and window == KILLED_IN, per_token / ideal - 1, abs(true / per_token - 1) <= 0.05 + BAR


def _figures(rows: list[tuple[bool, float, bool]]) -> Row:
    whole = sorted(abs(error) for restarted, error, _ in rows if not restarted)
    return {
        "windows": len(whole), "median_error": whole[len(whole) // 2], "p95_error": whole[int(0.95 * (len(whole) - 1))],
        "largest_error": whole[-1], "within_bar": sum(e <= BAR for e in whole) / len(whole),
        "restart_error": next((error for restarted, error, _ in rows if restarted), None),
        "gain_band_held": sum(held for _, _, held in rows) / len(rows), "ok": whole[-1] <= BAR,
    }  # fmt: skip
