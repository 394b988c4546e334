"""The agent on a simulated node with meters: the page against the plant's truth, and the ledger's own check."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest
import yaml

from energy_agent.core.units import UJ_PER_J
from energy_agent.sim import scenario
from energy_agent.sim.host.power import energy
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.scenario_model import HostModel
from tests.support import eventually
from wattlens.summary import summarise

NODE = b"""
boards: [{count: 2, sku: H100-SXM5-80GB, gain: 1.0}]
host: {gain: 1.0}
workloads:
  - {name: bursts, kind: burst, gpus: [0], on_s: 1.0, off_s: 0.7}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path_factory.mktemp("meters") / "node") as running:
        yield running


def run(node, tmp_path, sources, done):
    """Run the agent until `done(page)`; return the summary of the energy it recorded."""
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump({"sources": {"node": sources}}))
    state, log = tmp_path / "state", tmp_path / "agent.log"
    command = [sys.executable, "-m", "wattlens", "agent", "--config", tmp_path / "agent.yaml", "--state", state]
    with log.open("wb") as file:
        agent = subprocess.Popen(
            [*map(str, command), "--simulate", str(node.directory), "--listen", "127.0.0.1:0"],
            stderr=file,
            env=dict(os.environ),
        )
    try:
        url = eventually(lambda: next((w.rstrip(",") for w in log.read_text().split() if w.endswith("/metrics,")), None))

        def page():
            try:
                text = read_text(url)
            except OSError:
                return None
            return text if done(text) else None

        text = eventually(page, 90, every=0.5)
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait(60)
    return text, summarise(state)


def read_text(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def value(text, series):
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series)), 0.0)


def test_with_redfish_the_host_is_the_node_less_its_gpus(node, tmp_path):
    folder = node.directory
    sources = {
        "rapl": {"period_s": 1},
        "redfish": {
            "url": node.state()["host"]["redfish_url"], "user_file": str(folder / "redfish-user"),
            "password_file": str(folder / "redfish-password"), "period_s": 1, "max_power_w": 5000,
        },
    }  # fmt: skip
    text, summary = run(node, tmp_path, sources, lambda page: value(page, "wattlens_node_nongpu_energy_joules_total") > 8000)
    assert 'wattlens_energy_boundary_info{boundary="node"} 1' in text
    assert 'wattlens_node_energy_joules_total{source="rapl",domain="package-0"}' in text
    assert summary.conserved
    assert summary.boundary == "node"
    ((_, host),) = summary.host.devices
    with node.plant() as plant:
        truths = [plant.truth(gpu) for gpu in range(plant.count)]
    begin = node.state()["host"]["begin"]
    gpus_uj = sum(t.true_uj - b["true_uj"] for t, b in zip(truths, begin, strict=True))
    busy_ns = sum(t.busy_ns - b["busy_ns"] for t, b in zip(truths, begin, strict=True))
    truth = energy(HostModel(), gpus_uj, busy_ns, 2, truths[0].t_ns - begin[0]["t_ns"])
    seconds = (truths[0].t_ns - begin[0]["t_ns"]) / 1e9
    # The host's share of the node's energy, in the plant and as recorded by the agent: equal within the spread of the bursts.
    recorded_share = host.energy_uj / (host.energy_uj + summary.gpus.counters_uj)
    true_share = (truth.node_uj - gpus_uj) / truth.node_uj
    assert seconds > 5
    assert abs(recorded_share - true_share) < 0.15
    assert host.low_uj < host.energy_uj < host.high_uj
    shares = dict(summary.host.workloads)
    assert (
        sum(b.energy_uj for b in shares.values()) + summary.host.unallocated_uj + summary.host.unattributed_uj == host.energy_uj
    )
    assert (
        abs(summary.host.unallocated_uj - host.energy_uj / 2) < 0.15 * host.energy_uj + 50 * UJ_PER_J
    )  # one of two GPUs is held


@pytest.mark.smoke
def test_with_rapl_alone_the_boundary_is_gpu_and_cpu(node, tmp_path):
    series = 'wattlens_node_nongpu_energy_joules_total{domain="package-1",method="counter"}'
    text, summary = run(node, tmp_path, {"rapl": {"period_s": 1}}, lambda page: value(page, series) > 500)
    assert 'wattlens_energy_boundary_info{boundary="gpu+cpu"} 1' in text
    assert summary.boundary == "gpu+cpu"
    assert summary.conserved
    names = {h.rpartition("/")[2] for h, _ in summary.host.devices}
    assert names == {"package-0", "package-1", "dram-0", "dram-1"}  # neither core nor psys


@pytest.mark.smoke
def test_initially_wrong_password_is_reported_and_its_time_is_a_gap(node, tmp_path):
    (tmp_path / "password").write_text("wrong\n")
    sources = {
        "redfish": {
            "url": node.state()["host"]["redfish_url"], "user_file": str(node.directory / "redfish-user"),
            "password_file": str(tmp_path / "password"), "period_s": 1, "max_power_w": 5000,
        },
    }  # fmt: skip
    series = 'wattlens_node_nongpu_energy_gap_bound_joules_total{domain="host"}'
    text, summary = run(node, tmp_path, sources, lambda page: value(page, series) > 5000)  # more than a second at its most
    assert 'wattlens_source_up{source="node:redfish"} 0' in text
    assert "rejects the user name or the password" in text
    assert 'wattlens_energy_boundary_info{boundary="gpu"} 1' in text  # of what is measured: the meter never answered
    assert summary.boundary == "node"  # the gap is of the whole node
    ((_, host),) = summary.host.devices
    assert (host.energy_uj, host.low_uj) == (0, 0)
    assert host.gap_bound_uj == host.high_uj > 5000 * UJ_PER_J
    assert summary.conserved
