"""The processes of the manifests, with the arguments and files of these, through ends, crashes and updates of their pods."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from dvfs.actuator.client import ActuatorClient, ActuatorError
from dvfs.types import Setting
from energy_agent.sim import scenario
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode
from tests.deploy.kubernetes_objects import Object, committed, containers, of_kind, pods
from tests.energy_agent.agents import AgentProcess
from tests.support import eventually

pytestmark = pytest.mark.smoke
FOUND_MW, WANTED_MW = 700_000, 450_000
OUTAGE_NS = 8_000_000_000
LEAST_IDLE_W, MOST_IDLE_W = 60, 110  # of a board that does nothing
NODE = "description: two\nboards: [{count: 2, sku: H100-SXM5-80GB}]\nseed: 7\n"


class Pod:
    """A container's arguments and ConfigMaps, with each volume a folder of this machine."""

    def __init__(self, overlay: str, container: str, folder: Path) -> None:
        self.folder, self.objects = folder, committed(overlay)
        pod = pods(self.objects)["wattlens-agent"]
        container_spec = containers(pod)[container]
        self.volumes: dict[str, Object] = {v["name"]: v for v in pod["volumes"]}
        self.mounts = sorted(((m["mountPath"], m["name"]) for m in container_spec["volumeMounts"]), reverse=True)
        for name in self.volumes:
            (folder / name).mkdir(exist_ok=True)
        for mount, name in self.mounts:
            if "configMap" in self.volumes[name]:
                (files,) = of_kind(self.objects, "ConfigMap", self.volumes[name]["configMap"]["name"])
                for key, text in files["data"].items():
                    (folder / name / key).write_text(yaml.safe_dump(self._placed(yaml.safe_load(text))))
            assert mount.startswith("/")
        self.args = [self.placed(word) for word in container_spec["args"]]

    def placed(self, word: str) -> str:
        """A path of the container as one of this machine."""
        for mount, name in self.mounts:
            if word == mount or word.startswith(f"{mount}/"):
                return f"{self.folder}/{name}{word[len(mount) :]}"
        return word

    def _placed(self, value: object) -> object:
        if isinstance(value, dict):
            return {key: self._placed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._placed(each) for each in value]
        return self.placed(value) if isinstance(value, str) else value


class Actuator:
    """The container `actuator` of the overlay enforce."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.node = folder, SimulatedNode.start(scenario.parse(NODE.encode(), "test"), folder / "node")
        self.plant = Plant.attach(folder / "node/plant")
        self.pod = Pod("overlays/enforce", "actuator", folder)
        self.socket = Path(self.pod.args[self.pod.args.index("--socket") + 1])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "wattlens", *self.pod.args, "--simulate", str(self.folder / "node")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        eventually(self.answers)

    def answers(self) -> bool:
        with suppress(ActuatorError), ActuatorClient(self.socket, timeout_s=2) as client:
            return bool(client.hello()["pid"])
        return False

    def limit_mw(self) -> int:
        return self.plant.truth(0).power_limit_mw

    def stop(self) -> int:
        """SIGTERM to the container, as the kubelet sends it; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(45)

    def kill(self) -> None:
        """Every process at once, as the kernel does where the container is out of memory."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)  # first, so that none can restore between two kills
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.plant.close()
        self.node.stop()


@pytest.fixture
def actuator(tmp_path: Path) -> Iterator[Actuator]:
    actuator_process = Actuator(tmp_path)
    actuator_process.start()
    yield actuator_process
    actuator_process.close()


def steer(client: ActuatorClient) -> None:
    """Take GPU 0 and lower its limit."""
    (uuid,) = [d["device"] for d in client.status().devices if d["index"] == 0]
    lease = client.acquire([uuid])
    client.set(lease, uuid, Setting(None, WANTED_MW))


def test_the_end_of_the_pod_puts_everything_back(actuator: Actuator) -> None:
    assert stat.S_IMODE(actuator.socket.stat().st_mode) == 0o600
    assert actuator.limit_mw() == FOUND_MW
    with ActuatorClient(actuator.socket) as client:
        steer(client)
        eventually(lambda: actuator.limit_mw() == WANTED_MW)
        assert actuator.stop() == 0
    eventually(lambda: actuator.limit_mw() == FOUND_MW)


def test_a_container_that_was_killed_puts_everything_back_when_it_starts_again(actuator: Actuator) -> None:
    with ActuatorClient(actuator.socket) as client:
        steer(client)
        eventually(lambda: actuator.limit_mw() == WANTED_MW)
        actuator.kill()
    assert actuator.limit_mw() == WANTED_MW, "nobody is there to put it back"
    actuator.socket.unlink(missing_ok=True)  # a new pod has a new emptyDir; the journal is on the node
    actuator.start()
    eventually(lambda: actuator.limit_mw() == FOUND_MW)


def test_the_kill_switch_outlives_the_pod(actuator: Actuator) -> None:
    command = [sys.executable, "-m", "wattlens", "dvfs", "off", "--socket", actuator.socket, "--reason", "maintenance"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    assert actuator.stop() == 0
    actuator.start()
    with ActuatorClient(actuator.socket) as client, pytest.raises(ActuatorError, match="kill switch"):
        steer(client)
    assert actuator.limit_mw() == FOUND_MW


def test_an_update_of_the_agent_leaves_no_gap_in_energy(tmp_path: Path) -> None:
    pod = Pod("base", "agent", tmp_path)
    state = Path(pod.args[pod.args.index("--state") + 1])
    file = pod.args[pod.args.index("--config") + 1]
    with (
        SimulatedNode.start(scenario.parse(NODE.encode(), "test"), tmp_path / "node") as node,
        Plant.attach(node.plant_path) as plant,
    ):
        start_uj = sensed_uj(plant)
        old = AgentProcess(state, node.directory, "--config", file).start()
        eventually(lambda: energy_j(old) > 0)
        seen_uj = sensed_uj(plant)
        code, _ = old.terminate(within_s=60)
        gone_ns = plant.now_ns()
        assert code == 0
        eventually(lambda: plant.now_ns() - gone_ns > OUTAGE_NS, 60)
        with AgentProcess(state, node.directory, "--config", file) as new:
            bridged = eventually(lambda: energy_j(new, "bridged"))
            # A page is behind by a period and a tick of the counter; what the outage took would be more than twice that.
            lag_j = 2 * 2 * MOST_IDLE_W
            eventually(lambda: (sensed_uj(plant) - seen_uj) / 1e6 - lag_j <= energy_j(new))
            total_j, now_uj = energy_j(new), sensed_uj(plant)
            gaps = new.series("wattlens_gpu_energy_gap_bound_joules_total")
            unknown = new.series("wattlens_gpu_unattributed_energy_joules_total")
            bridged_then = energy_j(new, "bridged")
    assert bridged >= OUTAGE_NS / 1e9 * 2 * LEAST_IDLE_W > 2 * lag_j
    assert total_j <= (now_uj - start_uj) / 1e6, "nothing is counted twice"
    assert set(gaps.values()) == {0}
    assert {dict(labels)["reason"] for labels, joules in unknown.items() if joules} == {"gap"}
    assert bridged - 1e-3 <= sum(unknown.values()) <= bridged_then + 1e-3, "only in the outage may others have used the GPUs"


def energy_j(agent: AgentProcess, method: str | None = None) -> float:
    series = agent.series("wattlens_gpu_energy_joules_total")
    return sum(value for labels, value in series.items() if method is None or ("method", method) in labels)


def sensed_uj(plant: Plant) -> int:
    """What the counters have published since the plant was made."""
    return sum(plant.truth(gpu).sensed_uj for gpu in range(plant.count))
