"""A simulated node that is steered: node, actuator, agent and job are real processes. The truth is the plant's."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvfs.actuator.client import ActuatorClient, ActuatorError
from energy_agent.sim import scenario
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess
from tests.support import eventually, said_here

SCENARIO = """
boards: [{count: 3, sku: H100-SXM5-80GB}]
seed: 4
workloads:
  - {name: train, kind: training, gpus: [0, 1], cgroup: docker, step_s: 0.3, memory_boundness: 0.9, host_every_steps: 0,
     checkpoint_every_s: 0, restart: on-failure, agent_socket: SOCKET}
"""
KNEE = (345, 1005)
FREE = (0, 0)
STATIC = {"mode": "enforce", "auto_groups": True, "policy": "static", "options": {"static": {"clean_s": 1}}}
ALLOW = "allow: [{devices: all, knobs: [clock, power], baseline: unlocked}]\n"


def worker_pid(socket: Path) -> int:
    """Pid of the worker of an actuator, 0 while none answers."""
    try:
        with ActuatorClient(socket, timeout_s=2) as client:
            return int(client.hello()["pid"])
    except ActuatorError:
        return 0


class SteeredNode:
    """Everything runs after `with`; each part can be killed and started again. GPUs 0 and 1 are a job's, 2 is nobody's."""

    def __init__(
        self,
        folder: Path,
        dvfs: dict[str, Any] = STATIC,
        text: str = SCENARIO,
        more: dict[str, Any] | None = None,
        allow: str = ALLOW,
    ) -> None:
        self.folder, self.socket = folder, folder / "agent.sock"
        self.text = text.replace("SOCKET", str(self.socket))
        self.more = {"client": {"socket": str(self.socket)}, "holders": {"period_s": 1}, **(more or {})}
        self.configure(dvfs)
        (folder / "actuator.yaml").write_text(allow)
        self.agent = AgentProcess(folder / "state", folder / "node", "--config", folder / "agent.yaml")

    def __enter__(self) -> "SteeredNode":
        self.boot()
        self.start_actuator()
        self.agent.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_agent()
        self.end_actuator()
        self.plant.close()
        self.node.stop()

    def configure(self, dvfs: dict[str, Any]) -> None:
        """Write the agent's file; one that runs sees it within seconds."""
        (self.folder / "agent.yaml").write_text(
            json.dumps({"dvfs": {**dvfs, "actuator": str(self.folder / "a.sock")}, **self.more})
        )

    def boot(self) -> None:
        """Start the node; a second time it is another boot, whose GPUs are as they come."""
        self.node = SimulatedNode.start(scenario.parse(self.text.encode(), "test"), self.folder / "node")
        self.plant = Plant.attach(self.folder / "node/plant")

    def reboot(self) -> None:
        """The machine loses power: all processes at once, and what the boards were set to."""
        assert self.agent.process is not None
        for pid in (self.supervisor, eventually(self.worker), *self.agent.children(), self.agent.process.pid):
            with suppress(ProcessLookupError):  # a prober comes and goes
                os.kill(pid, signal.SIGKILL)
        self.actuator.wait(60)
        self.agent.process.wait(60)
        self.plant.close()
        self.node.stop()
        self.boot()

    def start_actuator(self) -> None:
        places = ["--socket", self.folder / "a.sock", "--state", self.folder / "actuator", "--simulate", self.folder / "node"]
        command = [sys.executable, "-m", "wattlens", "actuator", "--config", self.folder / "actuator.yaml", *places]
        with (self.folder / "actuator.log").open("ab") as log:
            self.actuator = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self.worker)

    def end_actuator(self) -> int:
        if self.actuator.poll() is None:
            self.actuator.terminate()
        return self.actuator.wait(60)

    def start_agent(self) -> None:
        self.agent.start()

    def end_agent(self) -> None:
        if self.agent.process is not None:
            self.agent.__exit__()

    def kill_agent(self) -> None:
        self.agent.kill()

    @property
    def supervisor(self) -> int:
        return self.actuator.pid

    def worker(self) -> int:
        """Pid of the actuator's worker, 0 while none answers."""
        return worker_pid(self.folder / "a.sock")

    def reader(self) -> int:
        """Pid of the agent's reader, or 0 while no reader runs."""
        return next((pid for pid, words in self.agent.commands().items() if any("reader" in word for word in words)), 0)

    def job(self) -> int:
        """Pid of the job's process, 0 while it is dead."""
        return int(self.node.workload("train")["pid"] or 0)

    def locks(self) -> list[tuple[int, int]]:
        return [self.plant.truth(i).locked_mhz for i in range(self.plant.count)]

    def limits(self) -> list[int]:
        return [self.plant.truth(i).power_limit_mw for i in range(self.plant.count)]

    def steered(self) -> bool:
        return self.locks() == [KNEE, KNEE, FREE]

    def free(self) -> bool:
        return set(self.locks()) == {FREE}

    def actions(self) -> list[tuple[str, str, str]]:
        """Policy, action and outcome of every row of the ledger, by its own command."""
        done = said_here("ledger", "export", "--actions", "--json", self.folder / "state")
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return [(r["policy"], r["action"], r["outcome"]) for r in rows]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "wattlens", *arguments], capture_output=True, text=True)
