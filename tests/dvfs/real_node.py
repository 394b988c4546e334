"""A simulated node with the real agent and the real actuator, on which any user's process may train."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.running import AgentProcess
from energy_agent.sim import roots, scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually

BOARD = b"boards: [{count: 1, sku: H100-SXM5-80GB, counter_model: full}]\n"


@dataclass
class RealNode:
    folder: Path
    simulated: SimulatedNode
    agent: AgentProcess

    @property
    def socket(self) -> Path:
        """The agent's, for clients."""
        return self.folder / "agent.sock"

    def train(self, *arguments: str, workload: str = "train", environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """A training process in a container of its own; it says "up" and then waits for a line until it is in the table."""
        child = subprocess.Popen(
            [sys.executable, *arguments], text=True, start_new_session=True,
            env=os.environ | self.simulated.environ() | {"WATTLENS_AGENT_SOCKET": str(self.socket)} | (environ or {}),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdin is not None
        line = child.stdout.readline()
        assert line == '"up"\n', child.communicate()[1]
        roots.add_process(self.simulated.directory, child.pid, roots.cgroup_path(workload, "docker", 1))
        child.stdin.write("go\n")
        child.stdin.flush()
        return child


@contextmanager
def real_node(folder: Path, allow: str, dvfs: str, name: str = "n1") -> Iterator[RealNode]:
    """The node in `folder`; `allow` is the actuator's list and `dvfs` what the agent's section of this name says, as YAML."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    (folder / "actuator.yaml").write_text(f"allow: [{allow}]\n")
    (folder / "agent.yaml").write_text(
        f"node: {{name: {name}}}\nclient: {{socket: {folder}/agent.sock}}\nholders: {{period_s: 1}}\n"
        f"dvfs: {{actuator: {folder}/a.sock, {dvfs}}}\n"
    )
    with SimulatedNode.start(scenario.parse(BOARD, name), folder / "node") as running:
        running.directory.chmod(0o755)
        running.plant_path.chmod(0o666)
        command = [sys.executable, "-m", "wattlens", "actuator", "--config", folder / "actuator.yaml", "--socket",
                   folder / "a.sock", "--state", folder / "actuator", "--simulate", running.directory]  # fmt: skip
        with (folder / "actuator.log").open("wb") as log:
            actuator = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, start_new_session=True)
        agent = AgentProcess(running.directory, folder / "state", folder / "agent.yaml")
        try:
            agent.start()
            eventually((folder / "a.sock").exists)
            yield RealNode(folder, running, agent)
            print((folder / "actuator.log").read_text(), agent.log(), sep="\n")
        finally:
            agent.stop()
            actuator.terminate()
            actuator.wait(60)
