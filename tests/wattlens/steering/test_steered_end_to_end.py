"""A job over two nodes, each with its real agent and actuator: the second follows the first, and both come back."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from energy_agent.owners.cgroup import membership
from energy_agent.runtime.network.agent_socket import ask
from energy_agent.sim import roots
from tests.dvfs.real_node import RealNode
from tests.dvfs.steered_node import STATIC
from tests.support import eventually

ALLOW = "{devices: all, knobs: [clock], baseline: unlocked}"
WORKLOAD = membership(f"0::{roots.cgroup_path('train', 'docker', 1)}").name
TERMS = (STATIC, {"mode": "enforce", "auto_groups": True})
RANK = """
import json, os, sys
from pathlib import Path
import wattlens
from energy_agent.sim.gpu.plant import Plant
steered, way = sys.argv[1] == "steered", sys.argv[2]
lead = os.environ["RANK"] == "0"
plant = Plant.attach(Path(os.environ["WATTLENS_SIM"]) / "plant")
print(json.dumps("up"), flush=True)
sys.stdin.readline()
slot = plant.attach_process(0, os.getpid(), memory_b=1 << 30)
pipe = open(way, "w" if lead else "r", buffering=1)

def broadcast(message):
    if not lead:
        return json.loads(pipe.readline())
    pipe.write(json.dumps(message) + "\\n")
    return message

steer = wattlens.steered(broadcast, every_s=0.5) if steered else None
while True:
    plant.wait(0, slot, plant.submit(0, slot, reference_ns=20_000_000, memory_boundness=0.5))
    wattlens.step(tokens=1)
    if steer is not None:
        steer.step()
"""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RealNode]]:
    with ExitStack() as stack:
        yield [stack.enter_context(RealNode(tmp_path / f"n{n}", ALLOW, TERMS[n], f"n{n}")) for n in range(2)]


def job(nodes: list[RealNode], how: str, way: Path) -> list[subprocess.Popen[str]]:
    os.mkfifo(way)
    places = [
        {"RANK": str(n), "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "head", "MASTER_PORT": "1"} for n in range(2)
    ]
    return [node.train("-c", RANK, how, str(way), environ=place) for node, place in zip(nodes, places, strict=True)]


def end(ranks: list[subprocess.Popen[str]]) -> None:
    for child in ranks:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()


@pytest.mark.timeout(480)
@pytest.mark.smoke
def test_a_job_over_two_nodes_is_steered_as_one_and_leaves_both_as_found(
    nodes: list[RealNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locks() -> list[int]:
        return [node.plant.truth(0).locked_mhz[1] for node in nodes]

    alone = job(nodes, "not", tmp_path / "p1")
    eventually(lambda: all("a job over several nodes needs wattlens.steered" in node.agent.log for node in nodes))
    assert locks() == [0, 0]
    end(alone)

    ranks = job(nodes, "steered", tmp_path / "p2")
    eventually(lambda: len(set(state := locks())) == 1 and state != [0, 0])
    eventually(lambda: "asked (asked)" in nodes[1].agent.log)  # by its own agent, after a request
    assert "asked (asked)" not in nodes[0].agent.log
    for n, node in enumerate(nodes):  # the killed job is not listed with the new one
        monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(node.socket))
        status, state = ask("GET", f"/v1/workload/{WORKLOAD}", within_s=60)
        assert (status, [rank["rank"] for rank in state["ranks"]]) == (200, [n])
    end(ranks)
    eventually(lambda: locks() == [0, 0])
