"""Steering in a closed loop, in real time: real agent, real actuator, real pynvml over the simulated driver, eight H100s.

A data-parallel job trains on four GPUs and is steered as one within a slowdown budget; a tensor-parallel engine serves on two
and another on one, each within its SLO. First nothing is steered, then everything: the configuration is replaced while the
agent runs. Energy, work and clocks are the plant's own; latencies are the engines' own histograms. The cost of steering is the
additional processor time of the agent and that of the actuator.
"""

import json
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runner import Row
from benchmarks.running import cpu_s, of_family, running_agent, running_role, simulated
from energy_agent.core.energy import ProcessUse
from energy_agent.owners.processes import ProcessOwners
from energy_agent.sim.node import SimulatedNode

GPUS = 8
SLOWDOWN, TTFT_MS, ITL_MS = 0.05, 750.0, 100.0
OVERHEAD_BAR = 0.005  # of a core for each GPU
_HISTOGRAMS = {  # of each engine, with limits: first tokens, a request's mean time between tokens, and single gaps
    "ttft": ("vllm:time_to_first_token_seconds", TTFT_MS / 1000),
    "mean": ("vllm:request_time_per_output_token_seconds", ITL_MS / 1000),
    "itl": ("vllm:inter_token_latency_seconds", ITL_MS / 1000),
}
TRAIN = {
    "name": "train", "kind": "training", "gpus": [0, 1, 2, 3], "cgroup": "docker", "step_s": 0.4, "memory_boundness": 0.35,
    "intensity": 0.9, "host_every_steps": 0, "checkpoint_every_s": 0,
}  # fmt: skip
SERVING = [
    {"name": "chat", "kind": "serving", "gpus": [4, 5], "cgroup": "docker", "model": "Qwen/Qwen3-32B", "rate_per_s": 3},
    {"name": "code", "kind": "serving", "gpus": [6], "cgroup": "docker", "rate_per_s": 2},
]


@dataclass(frozen=True, slots=True)
class LoopTotals:
    """True energy and work of each workload at an instant, and the CPU seconds of the agent's processes."""

    t_s: float
    energy_j: dict[str, float]
    work: dict[str, float]
    agent_cpu_s: float
    actuator_cpu_s: float
    histograms: dict[str, dict[str, dict[float, float]]]


class Loop:
    """The processes of one run."""

    def __init__(self, folder: Path, node: SimulatedNode, socket: Path, stack: ExitStack) -> None:
        self.folder, self.node, self.socket = folder, node, socket
        self.plant = stack.enter_context(node.plant())
        self.workloads = {w["name"]: w for w in node.workloads()}
        self.identity = {name: self._identity(w["pid"]) for name, w in self.workloads.items()}
        allow = [{"devices": "all", "knobs": ["clock", "power"], "baseline": "unlocked"}]
        (folder / "actuator.yaml").write_text(json.dumps({"allow": allow}))
        places = ["--socket", folder / "a.sock", "--simulate", node.directory]
        self.actuator, _ = stack.enter_context(running_role("actuator", folder, *places))
        self.agent = stack.enter_context(running_agent(node, folder / "state", self.config("observe")))

    def config(self, mode: str) -> Row:
        """The agent's configuration."""
        slo = {"slo": {"ttft_ms": TTFT_MS, "itl_ms": ITL_MS}}
        pages = [
            {"workload": self.identity[name], "url": w["metrics_url"], "period_s": 1.0}
            for name, w in self.workloads.items()
            if w.get("metrics_url")
        ]
        steering = {
            "mode": mode, "auto_groups": True, "actuator": str(self.folder / "a.sock"), "slowdown": SLOWDOWN,
            "workloads": {page["workload"]: slo for page in pages},
        }  # fmt: skip
        return {"client": {"socket": str(self.socket)}, "tokens": pages, "dvfs": steering}

    def mark(self) -> LoopTotals:
        """Truth and costs now."""
        energy, work = {}, {}
        states = {w["name"]: w for w in self.node.workloads()}
        for name, w in self.workloads.items():
            energy[name] = sum(self.plant.truth(gpu).true_uj for gpu in w["gpus"]) / 1e6
            work[name] = float(states[name]["counters"]["steps" if name == "train" else "generation_tokens"])
        pages = {name: _histograms(w["metrics_url"]) for name, w in self.workloads.items() if w.get("metrics_url")}
        return LoopTotals(
            time.monotonic(), energy, work, of_family(cpu_s, self.agent.pid), of_family(cpu_s, self.actuator.pid), pages
        )

    def _identity(self, pid: int) -> str:
        device_owners, _ = ProcessOwners(self.folder / "node/proc").resolve([ProcessUse(pid)], 0)
        assert device_owners.holding is not None
        return next(iter(device_owners.holding.weights))


def _histograms(url: str) -> dict[str, dict[float, float]]:
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read().decode()
    histograms: dict[str, dict[float, float]] = {}
    for metric in text_string_to_metric_families(text):
        for kind, (name, _) in _HISTOGRAMS.items():
            if metric.name == name:
                histograms[kind] = {float(s.labels["le"]): s.value for s in metric.samples if s.name == f"{name}_bucket"}
    return histograms


def within(before: dict[float, float], after: dict[float, float], limit_s: float) -> float:
    """Share of observations within a limit, by the highest edge at or below it."""
    edge = max(e for e in after if e <= limit_s)
    return (after[edge] - before.get(edge, 0)) / max(1.0, after[float("inf")] - before.get(float("inf"), 0))


def run(plain_s: float = 300.0, steered_s: float = 900.0, seed: int = 3) -> list[Row]:
    """One run, in two parts: with the original settings, then steered."""
    with ExitStack() as stack:
        socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wattlens-"))) / "agent.sock"
        workloads = [TRAIN | {"agent_socket": str(socket)}, *SERVING]
        gpu_specs = [{"count": GPUS, "sku": "H100-SXM5-80GB"}]
        folder, node = stack.enter_context(simulated({"boards": gpu_specs, "seed": seed, "workloads": workloads}))
        loop = Loop(folder, node, socket, stack)
        marks = []
        for mode, settle_s, seconds in (("observe", 15.0, plain_s), ("enforce", 5.0, steered_s)):
            draft = folder / "state.yaml.new"
            draft.write_text(json.dumps(loop.config(mode)))
            draft.replace(folder / "state.yaml")
            time.sleep(settle_s)
            marks.append(loop.mark())
            time.sleep(seconds)
            marks.append(loop.mark())
        return _figures(marks, loop.agent.log())


def _figures(marks: list[LoopTotals], log: str) -> list[Row]:
    parts = ((marks[0], marks[1]), (marks[2], marks[3]))
    rows: list[Row] = []
    for name in marks[0].energy_j:
        per = []
        for a, b in parts:
            work = b.work[name] - a.work[name]
            per.append(((b.energy_j[name] - a.energy_j[name]) / work, work / (b.t_s - a.t_s)))
        (j0, rate0), (j1, rate1) = per
        row: Row = {"workload": name, "j_per_work": j1, "saving": 1 - j1 / j0}
        if name == "train":
            row["slower"] = rate0 / rate1 - 1
            row["ok"] = row["slower"] <= SLOWDOWN and row["saving"] > 0
        else:
            for key, (_, limit) in _HISTOGRAMS.items():
                row[f"{key}_within"] = [within(a.histograms[name][key], b.histograms[name][key], limit) for a, b in parts]
            shares = [row[f"{key}_within"] for key in _HISTOGRAMS]
            row["ok"] = all(steered >= min(0.99, plain) - 0.005 for plain, steered in shares)
        rows.append(row)
    agent = [(b.agent_cpu_s - a.agent_cpu_s) / (b.t_s - a.t_s) for a, b in parts]
    actuator = (marks[3].actuator_cpu_s - marks[2].actuator_cpu_s) / (marks[3].t_s - marks[2].t_s)
    per_gpu, refused = (agent[1] - agent[0] + actuator) / GPUS, log.count(" refuse: ")
    cores = {"agent_cores": agent, "actuator_cores": actuator, "control_cores_per_gpu": per_gpu}
    return [*rows, cores | {"sets": log.count(" set: "), "refused": refused, "ok": per_gpu < OVERHEAD_BAR and not refused}]
