"""`wattlens doctor` at the command line: exit codes, wrong usage, whole measurements on a simulated node."""

import json
from pathlib import Path

import pytest

from energy_agent.node.sensor_file import tick_ns_by_board
from energy_agent.sim import scenario
from energy_agent.sim.gpu.sensor_capture import captured_sensors
from energy_agent.sim.node import SimulatedNode
from tests.doubles.nvml_replay import replay
from tests.energy_agent.nodes import environ_of, make_plant
from wattlens.cli import main
from wattlens.doctor import capturing, sensors


def test_without_a_driver_exit_code_is_1_and_json_has_the_reason(tmp_path, monkeypatch, capsys):
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a driver")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert main(["doctor", "--json", "--state", str(tmp_path), "--listen", "127.0.0.1:0"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert not body["can_run"]
    assert [f["subject"] for f in body["findings"] if f["stops"]] == ["NVML"]


def text_of(measured):
    return "\n".join("".join(text for _, text in line) for line in sensors.describe(measured))


def test_sensors_are_measured_in_spite_of_a_gpu_that_hangs_and_the_agent_reads_them(tmp_path):
    with make_plant(tmp_path, 3) as plant:
        plant.fault(1, "hang")
        measured = sensors.measure(environ_of(tmp_path), 6.0)
        plant.clear(1)
        boards = measured.as_json()["boards"]
        assert [b["index"] for b in boards] == [0, 1, 2]
        assert boards[1]["sensors"]["tick_ms"] == {"absent": "HANG"}
        assert text_of(measured).count("counter update period") == 2
        path = tmp_path / "sensors.json"
        path.write_text(json.dumps(measured.as_json()))
        assert {plant.uuid(0), plant.uuid(2)} <= tick_ns_by_board(path).keys()


def test_one_gpu_is_captured_for_the_simulator(tmp_path, capsys):
    path = tmp_path / "c.json.gz"
    idle = scenario.parse(b"boards: [{count: 2, sku: A40}]", "idle")
    with SimulatedNode.start(idle, tmp_path / "node"):
        command = ["doctor", "--simulate", str(tmp_path / "node"), "--for", "5s", "--out", str(path)]
        assert main([*command, "--sensors", "1"]) == 0
        assert "SIMULATED GPUs" in capsys.readouterr().out
        assert captured_sensors(path)["tick_ms"] == pytest.approx(100, abs=5)
        assert main([*command, "--sensors", "1"]) == 2
        assert "already exists" in capsys.readouterr().err
        path.unlink()
        assert main([*command, "--sensors"]) == 2
        assert "--sensors GPU" in capsys.readouterr().err
        assert main([*command, "--sensors", "7"]) == 2
        assert "expected a GPU from 0 to 1, got 7" in capsys.readouterr().err


def test_a_capture_is_written_once_and_replays(tmp_path):
    path = tmp_path / "c.json"
    with make_plant(tmp_path / "node", 2) as plant:
        plant.fault(1, "hang")
        summary = capturing.write(path, environ_of(tmp_path / "node"), 0.5, pseudonyms=True)
        plant.clear(1)
        assert summary["gpus"] == 1
        assert list(summary["left_out"]) == ["1"]
        assert plant.uuid(0) not in path.read_text()
    nvml = replay(path)
    nvml.init()
    assert nvml.device_count() == 2
    assert nvml.uuid(nvml.device_by_index(0)).startswith("GPU-")
    with pytest.raises(Exception, match="already exists"):
        capturing.write(path, {}, 0.5, pseudonyms=False)
