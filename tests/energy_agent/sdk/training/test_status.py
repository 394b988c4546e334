"""`status()` of real runs on a simulated node: without an agent, with two runs in a process, with an agent that goes away."""

import json
import subprocess
import sys

import pytest

from benchmarks.running import AgentProcess
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.nodes import environ_of

IDLE_W = 74.0  # of the board, by the simulator's data sheet
PREAMBLE = """
import json, os, sys, time, wattlens
n, begun = 0, []
def known_progress(progress, source):
    return progress.source == source and progress.joules and progress.measured_steps > 20
def train(run, seconds, source=""):
    global n
    began, before = time.monotonic(), n
    lacks = lambda: source and not known_progress(run.status(wait=False), source)
    while (past_s := time.monotonic() - began) < seconds or (lacks() and past_s < 60):
        begun.append(time.monotonic()); wattlens.step(tokens=10); n += 1; time.sleep(0.05)
    progress = run.status()
    ends, k = [*begun[before:], time.monotonic()], progress.measured_steps
    lengths = [after - first for first, after in zip(ends, ends[k:])] or [ends[-1] - ends[0]]
    print(json.dumps({"least_s": min(lengths), "most_s": max(lengths),
                      "source": progress.source, "joules": progress.joules, "low": progress.low, "high": progress.high,
                      "all": progress.steps,
                      "steps": progress.measured_steps, "tokens": progress.measured_tokens, "seconds": progress.seconds,
                      "reason": progress.reason, "done": n}), flush=True)
"""


@pytest.fixture
def node(tmp_path):
    with SimulatedNode.start(scenario.parse(b"boards: [{count: 1, sku: H100-SXM5-80GB}]\n", "test"), tmp_path / "node"):
        yield tmp_path / "node"


def environ(node, socket):
    return environ_of(node) | {"WATTLENS_AGENT_SOCKET": str(socket)}


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def holds(progress):
    """Joules belong to the steps and tokens in the same status: the GPU is idle, so power times the time of that many steps.

    The status does not identify the steps, so the time is between those of the fastest and slowest runs of that many steps,
    which differ on a busy machine. An agent's sums come from one reading per second and one report per second.
    """
    edge_s = 2.5 if progress["source"] == "agent" else 1.0
    assert progress["tokens"] == 10 * progress["steps"]
    assert progress["low"] < progress["joules"] < progress["high"]
    assert 0 < progress["steps"] <= progress["done"]
    assert IDLE_W * (progress["least_s"] - edge_s) <= progress["joules"] <= IDLE_W * (progress["most_s"] + edge_s)


def test_without_an_agent_each_run_has_the_steps_that_its_joules_were_used_for(node):
    code = """
with wattlens.training() as run:
    while run.status(wait=False).source != "nvml":
        time.sleep(0.05)
    train(run, 0.8)
    print(run.status(wait=False), file=sys.stderr)
for seconds, source in ((3.0, "nvml"), (0.2, "")):
    with wattlens.training(model="m") as run:
        train(run, seconds, source)
"""
    command = [sys.executable, "-c", PREAMBLE + code]
    done = subprocess.run(command, env=environ(node, node / "none"), capture_output=True, text=True, check=True)
    whole, second, short = lines(done.stdout)
    for progress in (whole, second):
        assert progress["source"] == "nvml"
        assert progress["joules"] == pytest.approx(IDLE_W * progress["seconds"], rel=0.1)
        holds(progress)
    assert whole["steps"] == whole["all"] == whole["done"]
    assert short["all"] == short["done"] - second["done"]
    inside, at_end = [line for line in done.stderr.splitlines() if " J/step (" in line and " J/token (" in line]
    assert inside.startswith(f"{whole['all']} steps, ")
    assert at_end.startswith(f"wattlens: {short['done']} steps, ")  # of all runs of the process


@pytest.mark.smoke
@pytest.mark.timeout(240)
def test_when_the_agent_goes_away_all_three_begin_anew(node, tmp_path):
    config = tmp_path / "agent.yaml"
    config.write_text(f"client: {{socket: {tmp_path}/agent.sock}}\n")
    agent = AgentProcess(node, tmp_path / "state", config)
    agent.start()
    code = (
        PREAMBLE
        + """
from pathlib import Path
from energy_agent.sim import roots
from energy_agent.sim.gpu.plant import Plant
node = Path(os.environ["WATTLENS_SIM"])
plant = Plant.attach(node / "plant")
roots.add_process(node, os.getpid(), roots.cgroup_path("job", "docker", 1))
slot = plant.attach_process(0, os.getpid(), memory_b=1 << 30)
try:
    with wattlens.training(model="m") as run:
        train(run, 5.0, "agent")
        sys.stdin.readline()
        train(run, 7.0, "nvml")
        sys.stdin.readline()
        train(run, 9.0, "agent")
finally:
    plant.detach_process(0, slot)
    roots.remove_process(node, os.getpid())
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environ(node, tmp_path / "agent.sock"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    updates = []
    try:
        for move in (agent.stop, agent.start, None):
            updates.append(json.loads(process.stdout.readline()))
            if move is not None:
                move()
                process.stdin.write("\n")
                process.stdin.flush()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
        agent.stop()
    assert [progress["source"] for progress in updates] == ["agent", "nvml", "agent"]
    for progress in updates:
        holds(progress)
