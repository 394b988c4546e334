"""Training with each hook on the simulated node while its agent is killed: cost per step, steps, tokens and joules.

Run from the repository's root: python -m benchmarks training [--steps 500] [--hook loop torch ...] [--no-kill]

A small PyTorch model is trained on the CPU; each forward pass is also a piece of work of 20 ms on a simulated GPU. Truth is the
optimizer's own count of steps, and the plant's energy between two of the agent's snapshots. Requirements: steps and tokens are
equal although the agent was killed; joules differ by no more than two ticks of the counter at each end; a call of the hook
takes 50 us at the 99th percentile, after the 20 ms in which the caches went cold. `empty loop` calls `wattlens.step` with
nothing else to do, without an agent.
"""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.runner import Row
from benchmarks.running import AgentProcess, running_agent, simulated
from benchmarks.training_worker import HOOKS

BAR_US = 50.0
TICKS_S = 2 * 2 * 0.110
KILLS, KILL_AFTER_S = 2, 4.0  # once the framework is imported and steps are counted
EMPTY = """
import json, time, wattlens
wattlens.training(quiet=True)
step, clock, us = wattlens.step, time.perf_counter_ns, []
for k in range(200_000):
    begun = clock()
    step(tokens=4096, loss=2.5)
    us.append((clock() - begun) / 1e3)
print(json.dumps(us))
"""


def train(hook: str, steps: int, kill: bool) -> Row:
    """One hook on a separate node."""
    with simulated({"boards": [{"count": 1, "sku": "H100-SXM5-80GB", "counter_model": "full"}]}) as (folder, node):
        config = {"client": {"socket": f"{folder}/agent.sock"}, "holders": {"period_s": 1}}
        command = [sys.executable, "-m", "wattlens", "sim", "run", "--dir", str(folder / "node"), "--"]
        command += [sys.executable, "-m", "benchmarks", "training_worker", "--hook", hook, "--steps", str(steps), "--json"]
        command += ["--until", str(folder / "killed")] if kill else []
        environ = os.environ | {"WATTLENS_AGENT_SOCKET": f"{folder}/agent.sock"}
        ended, kills = threading.Event(), list[int]()
        with running_agent(node, folder / "state", config) as agent:
            killer = threading.Thread(target=_kill, args=(agent, ended, kills, folder / "killed"))
            try:
                with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
                    if kill:
                        killer.start()
                    out, errors = child.communicate(timeout=600)
            finally:
                ended.set()
                if kill:
                    killer.join()
    if child.returncode != 0:
        raise RuntimeError(errors[-2000:])
    (row,) = json.loads(out.splitlines()[-1])
    return dict(row) | {"killed": len(kills), "stderr": errors}


def _kill(agent: AgentProcess, ended: threading.Event, kills: list[int], over: Path) -> None:
    """Kill the agent repeatedly and restart it at once. The training does not end before `over` exists."""
    ended.wait(KILL_AFTER_S)
    while len(kills) < KILLS and not ended.wait(random.uniform(2.0, 4.0)):
        kills.append(agent.pid)
        agent.kill()
        agent.start()
    over.touch()


def empty_loop() -> list[float]:
    """`wattlens.step` alone, us a call."""
    done = subprocess.run(
        [sys.executable, "-c", EMPTY], stdout=subprocess.PIPE, check=True, timeout=120,
        env=os.environ | {"WATTLENS_AGENT_SOCKET": "/nonexistent"},
    )  # fmt: skip
    durations_us: list[float] = json.loads(done.stdout)
    return durations_us


def judged(hook: str, figures: Row) -> Row:
    """The figures of a run, and its unmet requirements."""
    us, edge_j = sorted(figures["us"]), TICKS_S * figures["power_w"]
    p99_us = us[int(0.99 * len(us))]
    same = all(figures[f"told_{what}"] == figures[what] for what in ("steps", "tokens"))
    return {
        "hook": hook, "median_us": median(us), "p99_us": p99_us, "max_us": us[-1],
        "steps": f"{figures['told_steps']} of {figures['steps']}", "tokens": f"{figures['told_tokens']} of {figures['tokens']}",
        "joules": figures["joules"], "true_joules": figures["true_joules"], "edge_joules": edge_j, "kills": figures["killed"],
        "ok": same and abs(figures["joules"] - figures["true_joules"]) <= edge_j and p99_us <= BAR_US,
    }  # fmt: skip


def run(steps: int = 500, hook: tuple[str, ...] = HOOKS, no_kill: bool = False) -> Iterator[Row]:
    """Hooks one after another, and the empty loop."""
    for each in hook:
        yield judged(each, train(each, steps, not no_kill))
    us = sorted(empty_loop())
    p99_us = us[int(0.99 * len(us))]
    yield {"hook": "empty loop", "median_us": median(us), "p99_us": p99_us, "max_us": us[-1], "ok": p99_us <= BAR_US}
