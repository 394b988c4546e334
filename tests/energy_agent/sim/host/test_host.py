"""The meters of a simulated node: linear in the plant's truth, and shown where a kernel and a controller show them."""

import base64
import json
import urllib.error
import urllib.request

import pytest

from energy_agent.sim import scenario
from energy_agent.sim.host.power import energy
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.scenario_model import HostModel
from tests.support import eventually

S = 10**9
YAML = b"boards: [{count: 2, sku: H100-SXM5-80GB}]\nrate: 5\nhost: {}\n"


def test_host_power_matches_the_formula():
    host = HostModel(sockets=2, package_idle_w=100, package_busy_w=300, dram_w=10, other_w=200, fans_w=80, fan_ratio=0.1,
                psu_loss_ratio=0.2)  # fmt: skip
    idle = energy(host, 0, 0, 4, 10 * S)
    assert idle.package_uj == 1000 * 10**6
    assert idle.dram_uj == 100 * 10**6
    assert idle.node_uj == (2 * 1100 + 2800) * 10**6 * 10 // 8
    busy = energy(host, 4000 * 10**6, 4 * 10 * S, 4, 10 * S)
    assert busy.package_uj == 3000 * 10**6
    assert busy.node_uj == (4400 + 2 * 3100 + 2800) * 10**6 * 10 // 8


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with SimulatedNode.start(scenario.parse(YAML, "test"), tmp_path_factory.mktemp("host") / "node") as running:
        yield running


def test_the_kernels_files_move_and_supplies_sum_to_the_node(node):
    root = node.directory / "sys/class"
    first = int((root / "powercap/intel-rapl:0/energy_uj").read_text())
    eventually(lambda: int((root / "powercap/intel-rapl:0/energy_uj").read_text()) > first)
    names = {p.parent.name: p.read_text().strip() for p in root.glob("powercap/*/name")}
    assert names["intel-rapl:1"] == "package-1"
    assert names["intel-rapl:2"] == "psys"

    def total_w():
        total = sum(int(p.read_text()) for p in root.glob("hwmon/*/power1_input")) / 1e6
        return total if total > 900 else 0

    assert eventually(total_w) == pytest.approx((2 * (110 + 30) + 350 + 150 + 2 * 1.06 * 70) / 0.94, rel=0.15)


def test_redfish_service_requires_login_and_reports_power(node):
    url = node.state()["host"]["redfish_url"] + "/redfish/v1/Chassis/1/EnvironmentMetrics"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=60)
    refused.value.close()
    assert refused.value.code == 401
    pair = ":".join((node.directory / f"redfish-{name}").read_text().strip() for name in ("user", "password"))
    request = urllib.request.Request(url, headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["PowerWatts"]["Reading"] > 100


def test_a_scenario_without_a_host_has_no_meters(tmp_path):
    with SimulatedNode.start(scenario.parse(YAML.replace(b"host: {}\n", b""), "test"), tmp_path / "node") as bare:
        assert list((bare.directory / "sys").iterdir()) == []
        assert "host" not in bare.state()
