"""A steered node on which any user's process may train."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from energy_agent.sim import roots
from tests.dvfs.steered_node import SteeredNode

BOARD = "boards: [{count: 1, sku: H100-SXM5-80GB, counter_model: full}]\n"


class RealNode(SteeredNode):
    """A node with one board; `allow` is the actuator's rule, `dvfs` the agent's section of this name."""

    def __init__(self, folder: Path, allow: str, dvfs: dict[str, Any], name: str = "n1") -> None:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        super().__init__(folder, dvfs, BOARD, {"node": {"name": name}}, f"allow: [{allow}]\n")

    def boot(self) -> None:
        super().boot()
        self.node.directory.chmod(0o755)
        self.node.plant_path.chmod(0o666)

    def train(self, *arguments: str, workload: str = "train", environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """A training process in a container of its own; it says "up" and then waits for a line until it is in the table."""
        child = subprocess.Popen(
            [sys.executable, *arguments], text=True, start_new_session=True,
            env=os.environ | self.node.environ() | {"WATTLENS_AGENT_SOCKET": str(self.socket)} | (environ or {}),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdin is not None
        line = child.stdout.readline()
        assert line == '"up"\n', child.communicate()[1]
        roots.add_process(self.node.directory, child.pid, roots.cgroup_path(workload, "docker", 1))
        child.stdin.write("go\n")
        child.stdin.flush()
        return child
