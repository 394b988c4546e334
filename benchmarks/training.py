"""Training with each hook on the simulated node, beside an agent that is killed: cost a step, steps, tokens and joules.

Run from the repository's root: python -m benchmarks.training [--steps 500] [--hook loop,torch,...] [--no-kill] [--json]

A small PyTorch model is trained on the CPU; each forward pass is also a piece of work of 20 ms on a simulated GPU. Truth is the
optimizer's own count of steps, and the plant's energy between two of the agent's snapshots. What is demanded: steps and tokens
are equal, though the agent was killed; joules differ by no more than two ticks of the counter at each end; a call of the hook
takes 50 us at the 99th percentile, after the 20 ms in which the caches went cold. `empty loop` calls `wattlens.step` with
nothing else to do, without an agent.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.running import AgentProcess
from benchmarks.training_worker import HOOKS
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode

BAR_US = 50.0
TICKS_S = 2 * 2 * 0.110
KILLS, KILL_AFTER_S = 2, 4.0  # once the framework is imported and steps are counted
NODE = b"boards: [{count: 1, sku: H100-SXM5-80GB, counter_model: full}]\n"
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


def run(hook: str, steps: int, kill: bool) -> dict[str, Any]:
    """One hook on a node of its own."""
    with tempfile.TemporaryDirectory(prefix="wattlens-training-") as name:
        folder = Path(name)
        config = folder / "agent.yaml"
        config.write_text(f"client: {{socket: {folder}/agent.sock}}\nholders: {{period_s: 1}}\n")
        with SimulatedNode.start(scenario.parse(NODE, "training"), folder / "node"):
            agent = AgentProcess(folder / "node", folder / "state", config)
            agent.start()
            command = [sys.executable, "-m", "wattlens", "sim", "run", "--dir", str(folder / "node"), "--"]
            command += [sys.executable, "-m", "benchmarks.training_worker", "--hook", hook, "--steps", str(steps)]
            environ = os.environ | {"WATTLENS_AGENT_SOCKET": f"{folder}/agent.sock"}
            ended = threading.Event()
            kills: list[int] = []
            killer = threading.Thread(target=_kill, args=(agent, ended, kills, folder / "killed")) if kill else None
            command += ["--until", str(folder / "killed")] if kill else []
            try:
                with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
                    if killer is not None:
                        killer.start()
                    out, errors = child.communicate(timeout=600)
                    ended.set()
            finally:
                ended.set()
                if killer is not None:
                    killer.join()
                agent.stop()
        if child.returncode != 0:
            raise RuntimeError(errors[-2000:])
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found | {"killed": len(kills), "stderr": errors}


def _kill(agent: AgentProcess, ended: threading.Event, kills: list[int], over: Path) -> None:
    """Kill the agent now and then; start it again at once. The training does not end before `over` is there."""
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
    found: list[float] = json.loads(done.stdout)
    return found


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run, and what of the demands it fails."""
    us = sorted(found["us"])
    edge_j = TICKS_S * found["power_w"]
    figures = {
        "median_us": median(us), "p99_us": us[int(0.99 * len(us))], "max_us": us[-1], "calls": len(us),
        "joules": found["joules"], "true_joules": found["true_joules"], "edge_joules": edge_j,
    }  # fmt: skip
    failed = [
        f"{what}: {found[f'told_{what}']} of {found[what]}"
        for what in ("steps", "tokens")
        if found[f"told_{what}"] != found[what]
    ]
    if abs(found["joules"] - found["true_joules"]) > edge_j:
        failed.append(f"{found['joules']:.1f} J of {found['true_joules']:.1f} J")
    if figures["p99_us"] > BAR_US:
        failed.append(f"{figures['p99_us']:.0f} us")
    return found | figures | {"failed": failed}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--hook", default=",".join(HOOKS))
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    begun, rows = time.monotonic(), {}
    for hook in args.hook.split(","):
        rows[hook] = judged(run(hook, args.steps, not args.no_kill))
    us = sorted(empty_loop())
    alone = {"median_us": median(us), "p99_us": us[int(0.99 * len(us))], "max_us": us[-1]}
    if args.json:
        print(json.dumps({"hooks": {h: {k: v for k, v in r.items() if k != "us"} for h, r in rows.items()}, "empty": alone}))
    else:
        head = f"{'hook':10} {'us: median':>10} {'p99':>6} {'max':>8} {'steps':>11} {'tokens':>15}"
        print(f"{head} {'J':>9} {'true J':>9} kills")
        for hook, r in rows.items():
            counts = f"{r['told_steps']}/{r['steps']}", f"{r['told_tokens']}/{r['tokens']}"
            cost = f"{r['median_us']:10.1f} {r['p99_us']:6.1f} {r['max_us']:8.0f}"
            print(
                f"{hook:10} {cost} {counts[0]:>11} {counts[1]:>15} {r['joules']:9.1f} {r['true_joules']:9.1f} {r['killed']:5}  "
                f"{'; '.join(r['failed']) or 'held'}"
            )
        print(f"{'empty loop':10} {alone['median_us']:10.1f} {alone['p99_us']:6.1f} {alone['max_us']:8.0f}")
        print(f"{time.monotonic() - begun:.0f} s")
    return 1 if any(r["failed"] for r in rows.values()) or alone["p99_us"] > BAR_US else 0


if __name__ == "__main__":
    raise SystemExit(main())
