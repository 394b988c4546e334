"""A simulated node and a real actuator on it, for the tests that kill processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant
from tests.dvfs.steered_node import ALLOW, worker_pid
from tests.support import eventually

_HOLD = """
import sys, time
from pathlib import Path
from dvfs.actuator.client import ActuatorClient
from dvfs.types import Setting
client = ActuatorClient(Path(sys.argv[1]), name="holder")
devices = sys.argv[3:]
lease = client.acquire(devices, float(sys.argv[2]))
for device in devices:
    client.set(lease, device, Setting(1005, 400_000))
    client.heartbeat(lease)
print("set", flush=True)
while True:
    time.sleep(0.5)
    client.heartbeat(lease)
"""


@dataclass
class Rig:
    folder: Path
    plant: Plant
    config: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    actuator: subprocess.Popen[str] | None = None
    first_worker: int = 0

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def socket(self) -> Path:
        return self.run / "a.sock"

    @property
    def uuids(self) -> list[str]:
        return [self.plant.uuid(i) for i in range(self.plant.count)]

    def python(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.processes.append(process)
        return process

    def start(self) -> int:
        """Start an actuator; returns the worker's pid."""
        (self.folder / "actuator.yaml").write_text(self.config)
        places = ["--state", str(self.folder / "state"), "--simulate", str(self.folder)]
        options = ["--config", str(self.folder / "actuator.yaml"), "--socket", str(self.socket), *places]
        self.actuator = self.python("-m", "wattlens", "actuator", *options)
        self.first_worker = eventually(self.worker)
        return self.first_worker

    def stop(self) -> int:
        """End the actuator in order; returns its exit status."""
        assert self.actuator is not None
        self.actuator.terminate()
        return self.actuator.wait(60)

    def kill_all(self) -> None:
        """Kill supervisor and worker. The worker is stopped first, so that neither can restore between the two kills."""
        assert self.actuator is not None
        os.kill(self.first_worker, signal.SIGSTOP)
        os.kill(self.actuator.pid, signal.SIGKILL)
        os.kill(self.first_worker, signal.SIGKILL)
        self.actuator.wait(60)

    def worker(self) -> int:
        """Pid of the worker that serves now, 0 while none does."""
        return worker_pid(self.socket)

    def hold(self, *devices: str, ttl_s: float = 10.0) -> subprocess.Popen[str]:
        """A client process that holds a lease with both knobs set."""
        process = self.python("-c", _HOLD, str(self.socket), str(ttl_s), *devices)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "set\n", process.communicate()
        return process

    def restore(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wattlens", "dvfs", "restore", "--json", "--state", str(self.folder / "state"),
             "--simulate", str(self.folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def shows(self, gpu: int) -> tuple[int, tuple[int, int]]:
        truth = self.plant.truth(gpu)
        return truth.power_limit_mw, truth.locked_mhz

    def changed(self) -> bool:
        return all(self.shows(i) == (400_000, (345, 1005)) for i in range(self.plant.count))

    def back(self) -> bool:
        return all(self.shows(i) == (700_000, (0, 0)) for i in range(self.plant.count))


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(config: str = ALLOW, boards: int = 2) -> Rig:
        plant = Plant.create(tmp_path / "plant", [BoardSpec("H100-SXM5-80GB")] * boards, seed=1)
        rigs.append(Rig(tmp_path, plant, config))
        return rigs[-1]

    yield make
    for rig in rigs:
        for process in rig.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        rig.plant.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A node of two boards whose actuator runs."""
    started = make_rig()
    started.start()
    return started
