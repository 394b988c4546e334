"""slurmd's prolog and epilog, run with the environment that slurmd gives: a real actuator, and a page like the agent's."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvfs.actuator.client import ActuatorClient, ActuatorError
from energy_agent.sim import scenario
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.node import SimulatedNode
from tests.deploy.test_pod_life import FOUND_MW, NODE, WANTED_MW, steer
from tests.doubles.page_server import PageServer
from tests.support import eventually, need_program

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/slurm/wattlens-job.sh"
PAGE = """\
# TYPE wattlens_workload_energy_joules counter
wattlens_workload_energy_joules_total{workload="slurm-28",uuid="GPU-1",state="active",method="counter"} 1500.5
wattlens_workload_energy_joules_total{workload="slurm-28",uuid="GPU-1",state="idle",method="counter"} 20
wattlens_workload_energy_joules_total{workload="slurm-28",uuid="GPU-2",state="active",method="bridged"} 2.5e3
wattlens_workload_energy_joules_total{workload="slurm-281",uuid="GPU-3",state="active",method="counter"} 7e6
wattlens_workload_energy_uncertainty_joules{workload="slurm-28",uuid="GPU-1"} 9e9
"""


class Slurmd:
    """What slurmd gives a script: no PATH, a few words, and nobody on standard input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "python").symlink_to(sys.executable)
        self.wattlens("")
        self.words = {
            "WATTLENS_BIN": str(self.bin),
            "WATTLENS_ACTUATOR_SOCKET": str(folder / "a.sock"),
            "WATTLENS_ACTUATOR_STATE": str(folder / "actuator"),
            "WATTLENS_METRICS": "http://127.0.0.1:9/metrics",
            "WATTLENS_WAIT_S": "0",
            "WATTLENS_SETTLE_S": "0",
        }

    def wattlens(self, simulate: str) -> None:
        """The program, which finds this node where `dvfs restore` would ask the machine's own driver."""
        text = f'#!/bin/sh\n[ "$2" != restore ] || set -- "$@" {simulate}\nexec {sys.executable} -m wattlens "$@"\n'
        (self.bin / "wattlens").write_text(text)
        (self.bin / "wattlens").chmod(0o755)

    def run(self, context: str | None = "prolog_slurmd", job: str = "28", **words: str) -> tuple[int, str]:
        """Run the script; return its exit code and output."""
        env = self.folder / "slurm.env"
        lines = [f"{key}={value}" for key, value in (self.words | words).items()]
        env.write_text("\n".join([*lines, f"cd {ROOT}", "logger() { return 1; }"]) + "\n")
        environ = {"WATTLENS_ENV": str(env), "SLURM_JOB_ID": job, "SLURM_JOB_USER": "alice", "SLURM_JOB_GPUS": "0,1"}
        if context is not None:
            environ["SLURM_SCRIPT_CONTEXT"] = context
        done = subprocess.run([SCRIPT], env=environ, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr


@pytest.fixture
def slurmd(tmp_path: Path) -> Slurmd:
    return Slurmd(tmp_path)


class AgentPage(PageServer):
    """The agent's page."""

    def __init__(self) -> None:
        self.text = PAGE
        super().__init__(lambda: self.text.encode())


@pytest.fixture
def page() -> Iterator[AgentPage]:
    with AgentPage() as server:
        yield server


@pytest.mark.peer
def test_shellcheck_finds_nothing() -> None:
    program = need_program("shellcheck")
    for script in sorted((ROOT / "deploy").rglob("*.sh")):
        done = subprocess.run([program, script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), script


def test_unsteered_node_costs_a_job_nothing(slurmd: Slurmd) -> None:
    assert slurmd.run(WATTLENS_DRAIN="yes") == (0, "")


@pytest.mark.parametrize(("context", "job"), [(None, "28"), ("prolog_slurmctld", "28"), ("epilog_slurmd", "28; reboot")])
def test_outside_slurmd_the_script_warns_and_exits_0(slurmd: Slurmd, context: str | None, job: str) -> None:
    code, output = slurmd.run(context, job)
    assert code == 0
    assert output.count("\n") == 1
    assert output.startswith("wattlens-slurm: SLURM_")


def test_after_a_job_its_joules_are_in_the_log(slurmd: Slurmd, page: AgentPage) -> None:
    need_program("curl")
    code, output = slurmd.run("epilog_slurmd", WATTLENS_METRICS=page.url)
    assert (code, output) == (0, "wattlens-slurm: job=28 user=alice gpus=0,1 gpu_energy_joules=4020\n")
    assert "gpu_energy_joules=unknown" in slurmd.run("epilog_slurmd", "2", WATTLENS_METRICS=page.url)[1]
    assert "gpu_energy_joules=unknown" in slurmd.run("epilog_slurmd")[1], "no agent answers"


@pytest.mark.smoke
def test_orphaned_settings_are_restored_or_the_node_is_drained(slurmd: Slurmd, tmp_path: Path) -> None:
    (tmp_path / "actuator.yaml").write_text("allow: [{devices: all, knobs: [power]}]\n")
    with (
        SimulatedNode.start(scenario.parse(NODE.encode(), "test"), tmp_path / "node") as node,
        Plant.attach(node.plant_path) as plant,
    ):
        places = ["--socket", tmp_path / "a.sock", "--state", tmp_path / "actuator", "--simulate", tmp_path / "node"]
        command = [sys.executable, "-m", "wattlens", "actuator", "--config", tmp_path / "actuator.yaml", *places]
        with (tmp_path / "log").open("wb") as log:
            actuator = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, start_new_session=True)
        with ActuatorClient(tmp_path / "a.sock") as client:
            eventually(lambda: answers(client))
            steer(client)
            eventually(lambda: plant.truth(0).power_limit_mw == WANTED_MW)
            assert slurmd.run(WATTLENS_DRAIN="yes") == (0, ""), "another job's lease is nobody's trouble"
            os.killpg(actuator.pid, signal.SIGSTOP)
            os.killpg(actuator.pid, signal.SIGKILL)
            actuator.wait(60)
        # Nobody is left to put it back, and the driver does not answer to who would.
        slurmd.wattlens(f"--simulate {tmp_path}/nowhere")
        code, output = slurmd.run("prolog_slurmd")
        assert code == 0
        assert "job=28: before it, settings are left that nobody holds" in output
        assert slurmd.run("epilog_slurmd", WATTLENS_DRAIN="yes")[0] == 1
        assert plant.truth(0).power_limit_mw == WANTED_MW
        slurmd.wattlens(f"--simulate {tmp_path}/node")
        assert slurmd.run("prolog_slurmd", WATTLENS_DRAIN="yes", WATTLENS_WAIT_S="30") == (0, "")
        eventually(lambda: plant.truth(0).power_limit_mw == FOUND_MW)


def answers(client: ActuatorClient) -> bool:
    try:
        return bool(client.hello()["pid"])
    except ActuatorError:
        return False
