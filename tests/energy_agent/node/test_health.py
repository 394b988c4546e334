"""Health on the page of a real agent: what happens to a board shows, MIG changes are followed, no joule is lost meanwhile."""

import pytest
import yaml

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess, of_device
from tests.support import eventually, said_here

SCENARIO = """
description: two boards, a training job on one
boards: [{count: 2, sku: H100-SXM5-80GB}]
seed: 5
rate: 5.0
workloads: [{name: train, kind: training, gpus: [0], step_s: 0.3}]
"""
CONFIG = {
    "sampling": {"health_period_s": 10},
    "sources": {"nvml": {"gpm": True}},
    "web": {"metrics": {"exclude": ["gpu_ecc_location_errors_total"]}},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    with SimulatedNode.start(scenario.parse(SCENARIO.encode(), "test"), folder / "node") as running:
        yield running


@pytest.fixture(scope="module")
def agent(node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    (folder / "agent.yaml").write_text(yaml.safe_dump(CONFIG))
    with AgentProcess(folder / "state", node.directory, "--config", folder / "agent.yaml") as running:
        yield running


def values(agent, name, uuid, **labels):
    """Values of the series of a GPU whose labels hold `labels`."""
    series = of_device(agent.series(f"wattlens_{name}"), uuid)
    return [value for key, value in series.items() if set(labels.items()) <= set(key)]


def test_mig_that_is_turned_on_and_off_is_followed_and_no_joule_is_lost(node, agent):
    def mig(uuid):
        (mig_mode,) = [dict(key)["mig"] for key in of_device(agent.series("wattlens_gpu_info"), uuid)]
        return mig_mode, len(values(agent, "gpu_mig_info", uuid, profile="1g.10gb"))

    def energy(uuid):
        return sum(values(agent, "gpu_energy_joules_total", uuid))

    with node.plant() as plant:
        uuid = plant.uuid(1)
        other = plant.uuid(0)
        eventually(lambda: mig(uuid) == ("false", 0))
        last_energy = energy(uuid)
        for instances in (2, 7, 0):
            if instances:
                plant.fault(1, "mig", value=instances)
            else:
                plant.clear(1, "mig")
            eventually(lambda n=instances: mig(uuid) == ("true" if n else "false", n))
            eventually(lambda: values(agent, "gpu_up", uuid) == [1])
            eventually(lambda before=last_energy: energy(uuid) > before)
            last_energy = energy(uuid)
        page = agent.series("wattlens_gpu_energy_joules_total")
        methods, of_other = ({dict(k)["method"] for k, v in of_device(page, u).items() if v} for u in (uuid, other))
        # Where a busy machine reads late, energy is bridged on the GPU as well whose MIG mode nobody touched.
        assert methods == {"counter"} or methods <= of_other
        recorded_j, now = energy(uuid), plant.truth(1)
        assert recorded_j <= (now.sensed_uj + now.pending_uj) / 1e6


def test_released_for_a_mig_change_the_driver_is_left_alone_and_read_again(node, agent):
    with node.plant() as plant:
        uuid = plant.uuid(1)
        eventually(lambda: values(agent, "gpu_mig_enabled", uuid) == [0])
        done = said_here("agent", "release", "--for", "1h", "--state", agent.folder)
        assert done.returncode == 0, done.stderr
        eventually(lambda: not agent.children())  # no process of ours holds the driver
        eventually(lambda: values(agent, "gpu_mig_enabled", uuid) == [])
        plant.fault(1, "mig", value=3)
        done = said_here("agent", "resume", "--state", agent.folder)
        assert done.returncode == 0, done.stderr
        eventually(lambda: len(values(agent, "gpu_mig_info", uuid)) == 3)
        eventually(lambda: [dict(key)["mig"] for key in of_device(agent.series("wattlens_gpu_info"), uuid)] == ["true"])
        plant.clear(1, "mig")


def test_errors_links_and_activity_show_and_a_lost_gpu_takes_them_along(node, agent):
    with node.plant() as plant:
        first_uuid, other = plant.uuid(0), plant.uuid(1)
        eventually(lambda: values(agent, "gpu_mig_enabled", other) == [0])
        plant.fault(1, "ecc_uncorrected", value=2)
        plant.fault(1, "recovery_action", value=1)
        plant.fault(1, "nvlink_down", value=4)
        wanted = {"severity": "uncorrected"}
        eventually(lambda: values(agent, "gpu_ecc_errors_total", other, **wanted) == [2])
        eventually(lambda: values(agent, "gpu_recovery_action", other, action="gpu_reset") == [1])
        eventually(lambda: values(agent, "gpu_nvlink_down_info", other, link="4") == [1])
        eventually(lambda: values(agent, "gpu_row_remap_pending", other) == [1])
        eventually(lambda: [v > 0.1 for v in values(agent, "gpu_activity_ratio", first_uuid, part="sm")] == [True])
        eventually(lambda: values(agent, "gpu_activity_ratio", other, part="sm") == [0])
        assert eventually(lambda: values(agent, "gpu_ecc_errors_total", first_uuid, **wanted)) == [0]
        assert values(agent, "gpu_ecc_location_errors_total", other) == []  # excluded
        plant.fault(1, "lost")
        eventually(lambda: values(agent, "gpu_up", other) == [0])
        for name in ("gpu_ecc_errors_total", "gpu_recovery_action", "gpu_nvlink_down_info", "gpu_activity_ratio"):
            eventually(lambda name=name: values(agent, name, other) == [])
