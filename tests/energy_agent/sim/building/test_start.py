"""Simulated nodes that have no building, or cannot have one: why, in one line."""

import socket

from energy_agent.core.errors import WattlensError
from energy_agent.sim import scenario
from energy_agent.sim.building import site
from energy_agent.sim.node import SimulatedNode
from tests.support import free_port, refusal

NODE = "boards: [{count: 1, sku: A40}]\nfacility: {}\n"


def test_node_without_a_building_reports_missing_facility(tmp_path):
    with SimulatedNode.start("idle", tmp_path / "node") as bare:
        for look in (site.meters, site.truth, site.site_config):
            assert "'facility'" in refusal(look, bare)


def test_occupied_port_is_reported(tmp_path):
    port = free_port()
    text = f"boards: [{{count: 1, sku: A40}}]\nfacility: {{modbus_port: {port}}}\n"
    with socket.create_server(("127.0.0.1", port)):
        line = refusal(SimulatedNode.start, scenario.parse(text.encode(), "test"), tmp_path / "node", error=WattlensError)
    assert f"127.0.0.1:{port}" in line
