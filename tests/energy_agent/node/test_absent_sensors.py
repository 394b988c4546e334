"""A real agent on a node where the driver of one GPU reports neither energy nor power: all that it shows and stores agrees."""

import json
import subprocess
import sys

import pytest

from energy_agent.core.boundary import NO_SENSOR
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess
from tests.support import eventually

NODE = b"""
boards: [{count: 2, sku: H100-SXM5-80GB, gain: 1.0}]
workloads:
  - {name: seen, kind: burst, gpus: [0], on_s: 1.0, off_s: 0.7}
  - {name: unseen, kind: burst, gpus: [1], on_s: 1.0, off_s: 0.7}
"""
CALLS = ("nvmlDeviceGetFieldValues", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage")


@pytest.fixture
def node(tmp_path):
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path / "node") as running:
        with running.plant() as plant:
            for call in CALLS:
                plant.fault(1, "not_supported", call=call)
        yield running


def wattlens(*arguments):
    command = [sys.executable, "-m", "wattlens", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def gpu_seconds(agent):
    series = agent.series("wattlens_workload_gpu_seconds_total")
    return sum(value for labels, value in series.items() if dict(labels)["workload"] == "unseen")


def test_an_agent_shows_and_stores_bounds_and_time_of_a_gpu_without_sensors(node, tmp_path):
    with AgentProcess(tmp_path / "state", node.directory) as agent:
        eventually(lambda: gpu_seconds(agent) > 5, 90)
        page = [line for line in agent.page().splitlines() if not line.startswith("#")]
        measured = tmp_path / "measured.json"
        wattlens("measure", "--simulate", node.directory, "--gpus", "1", "--out", measured, "--", "sleep", "0.5")
    of_gpu = [line for line in page if 'gpu="1"' in line or 'workload="unseen"' in line]
    joules = {line.partition("{")[0] for line in of_gpu if "joules" in line}
    assert joules == {"wattlens_gpu_energy_gap_bound_joules_total"}
    assert any("gpu_absent_info" in line and 'field="energy_mj"' in line for line in of_gpu)
    assert any(line.startswith('wattlens_workload_energy_joules_total{workload="seen"') for line in page)
    run = json.loads(measured.read_text())
    assert (run["joules"], NO_SENSOR in run["reason"]) == (None, True)
    assert ": ok [simulated]" in wattlens("ledger", "verify", tmp_path / "state")
    rows = {row["name"]: row for row in json.loads(wattlens("usage", tmp_path / "state", "--json"))["rows"]}
    unseen, metered_row = rows["unseen"], rows["seen"]
    assert (unseen["energy_kwh"], unseen["energy_uj"], unseen["energy_kwh_lower"]) == (None, None, 0)
    assert unseen["energy_kwh_upper"] > metered_row["energy_kwh"] > 0
