"""`wattlens sim` and the meters of a building: their faults and their truth, as a person sets and sees them."""

import json

import pytest

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, said_here

NODE = """
boards: [{count: 1, sku: A40}]
rate: 10
facility: {meters: {main: {gain: 1.005}}}
"""


def ok(*arguments: str) -> str:
    done = said_here("sim", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sim")
    with SimulatedNode.start(scenario.parse(NODE.encode(), "test"), path / "node"):
        yield str(path / "node")


def building(folder):
    return json.loads(ok("status", "--dir", folder, "--json"))["facility"]


def kinds(folder, meter):
    return [fault["kind"] for each in building(folder)["meters"] if each["id"] == meter for fault in each["faults"]]


def test_the_truth_of_the_building(folder):
    first = eventually(lambda: (b := building(folder))["pue"] and b)  # just after the start it has no value
    assert first["meters"][0] | {"true_j": 0, "power_w": 0} == {
        "id": "main", "role": "total", "unit": 1, "true_j": 0, "power_w": 0, "gain": 1.005, "faults": []}  # fmt: skip
    assert 1.1 < first["pue"] < 2
    later = eventually(lambda: (b := building(folder))["meters"][0]["true_j"] > first["meters"][0]["true_j"] and b)
    assert later["port"] == first["port"]
    shown = ok("status", "--dir", folder)
    assert f"building: Modbus TCP on 127.0.0.1:{first['port']}" in shown
    assert "\nmain         total" in shown


def test_faults_of_meters(folder):
    assert ok("fault", "meter:main", "offline", "--dir", folder) == "meter:main: offline set\n"
    assert ok("fault", "meter:main", "slow", "--value", "20", "--dir", folder) == "meter:main: slow set\n"
    assert kinds(folder, "main") == ["offline", "slow"]
    assert kinds(folder, "ups") == []
    assert "offline, slow" in ok("status", "--dir", folder)
    assert ok("clear", "meter:main", "slow", "--dir", folder) == "meter:main: slow cleared\n"
    assert kinds(folder, "main") == ["offline"]
    assert ok("clear", "meter:main", "--dir", folder) == "meter:main: all faults cleared\n"
    assert kinds(folder, "main") == []
    said = ok("fault", "meter:ups", "stuck", "--for", "2s", "--dir", folder)
    assert said == "meter:ups: stuck set; will be cleared after 2s (Ctrl-C clears it now)\nmeter:ups: stuck cleared\n"
    assert kinds(folder, "ups") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fault", "meter:mian", "offline"], "unknown meter 'mian'; did you mean 'main'?"),
        (["fault", "meter:main", "lost"], "unknown meter fault 'lost'"),
        (["fault", "meter:main", "reset", "--for", "1s"], "happens once"),
        (["fault", "meter:main", "reset", "--value", "1"], "does not take a value"),
        (["fault", "meter:main", "slow", "--call", "nvmlInit"], "--call: cannot be combined with a meter"),
        (["clear", "meter:main", "lots"], "unknown meter fault 'lots'"),
        (["fault", "main", "offline"], "unknown fault 'offline'"),
    ],
)
def test_wrong_usage(folder, arguments, says):
    done = said_here("sim", arguments[0], "--dir", folder, *arguments[1:])
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_node_without_a_building(tmp_path):
    node = str(tmp_path / "node")
    with SimulatedNode.start("idle", tmp_path / "node"):
        assert "facility" not in json.loads(ok("status", "--dir", node, "--json"))
        done = said_here("sim", "fault", "meter:main", "offline", "--dir", node)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "add the key 'facility' to its scenario" in done.stderr
