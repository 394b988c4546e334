"""Simulated nodes that have no building, or cannot have one: why, in one line."""

import socket

import pytest

from energy_agent.core.errors import WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.sim import scenario
from energy_agent.sim.building import site
from energy_agent.sim.node import SimulatedNode
from tests.support import free_port, need_module, refusal

NODE = "boards: [{count: 1, sku: A40}]\nfacility: {}\n"


def test_a_node_without_a_building_says_so(tmp_path):
    with SimulatedNode.start("idle", tmp_path / "node") as bare:
        for look in (site.meters, site.truth, site.site_config):
            assert "'facility'" in refusal(look, bare)


@pytest.mark.parametrize("code", ["raise ImportError('not here')", "__version__ = '3.12.1'"])
def test_without_a_fit_pymodbus_the_node_starts_without_a_building(tmp_path, monkeypatch, code):
    (tmp_path / "shadow/pymodbus").mkdir(parents=True)
    (tmp_path / "shadow/pymodbus/__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    with SimulatedNode.start(scenario.parse(NODE.encode(), "test"), tmp_path / "node") as running:
        reason = f"its meters require pymodbus 3.13 or later: {install_hint('facility')}"
        assert running.state()["facility"] == {"reason": reason}
        assert "no building: its meters require pymodbus" in refusal(site.truth, running)


def test_a_port_that_is_taken_is_told(tmp_path):
    need_module("pymodbus")
    port = free_port()
    text = f"boards: [{{count: 1, sku: A40}}]\nfacility: {{modbus_port: {port}}}\n"
    with socket.create_server(("127.0.0.1", port)):
        line = refusal(SimulatedNode.start, scenario.parse(text.encode(), "test"), tmp_path / "node", error=WattlensError)
    assert f"127.0.0.1:{port}" in line
