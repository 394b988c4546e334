"""A capture: nothing is changed by taking it, it holds what NVML said, and a replay says it again."""

import json
import os
import subprocess
import sys

import pytest

from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.capture import SCHEMA, dumps, getters, take, with_pseudonyms
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim.gpu.build import library_path
from tests.doubles.gpus import H100, code_of
from tests.doubles.nvml_replay import ReplayedNvml, replay
from tests.support import refusal

_FUNCTIONS = """
import json, os, sys
from pathlib import Path
import pynvml
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.devices.nvml.capture import take
from energy_agent.devices.nvml.library import RealNvml
nvml = RealNvml(Path(sys.argv[1]))
nvml.init()
take(nvml, SimulatedClock(Path(os.environ["WATTLENS_SIM"]) / "plant"), [0, 1], lambda _: None, lambda _: None, 0.5)
if sys.argv[2] == "set":
    nvml.set_power_limit_mw(nvml.device_by_index(0), 500_000)
print(json.dumps(sorted(pynvml._nvmlGetFunctionPointer_cache)))
"""


@pytest.fixture
def node(gpus):
    return gpus(H100, "V100-SXM2-16GB", seed=11)


@pytest.fixture
def captured(node, tmp_path):
    node.step(1)  # the counters have ticked
    capture = take(node.nvml, SimulatedClock(tmp_path / "plant"), [0, 1], lambda _: None, lambda _: None, 1.0)
    return node.plant, node.nvml, capture


def replayed(capture, *clock):
    replay = ReplayedNvml(capture, *clock)
    replay.init()
    return replay


def functions_called(folder, then):
    """Every function of the library that pynvml looked up, which it does before each first call."""
    code = [sys.executable, "-c", _FUNCTIONS, str(library_path()), then]
    environ = dict(os.environ, WATTLENS_SIM=str(folder), PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    done = subprocess.run(code, env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def changing(names):
    prefixes = ("nvmlDeviceGet", "nvmlSystemGet", "nvmlInit", "nvmlShutdown", "nvmlErrorString")
    return [n for n in names if not n.startswith(prefixes)]


def test_no_function_that_changes_anything_is_ever_called(node, tmp_path):
    before = [(t.power_limit_mw, t.locked_mhz) for t in map(node.truth, (0, 1))]
    called = functions_called(tmp_path, "")
    assert len(called) > 50
    assert changing(called) == []
    assert [(t.power_limit_mw, t.locked_mhz) for t in map(node.truth, (0, 1))] == before
    assert changing(functions_called(tmp_path, "set")) == ["nvmlDeviceSetPowerManagementLimit"]  # the look-up does see setters


def test_every_call_is_in_it_and_no_setter(captured):
    _, nvml, capture = captured
    for name in ("nvmlDeviceSetPowerManagementLimit", "nvmlDeviceResetGpuLockedClocks", "nvmlDeviceClearEccErrorCounts"):
        assert "name of a getter" in refusal(nvml.ask, name, nvml.device_by_index(0), error=ValueError)
    assert code_of(nvml.ask, "nvmlDeviceGetNothingOfTheKind") == abi.FUNCTION_NOT_FOUND
    for device in capture["devices"]:
        assert getters().keys() <= device["calls"].keys()
        assert [f[0] for f in device["fields"]] == list(range(1, 251))


def answer(nvml, name, device):
    """The answer, or the code of none."""
    try:
        return getattr(nvml, name)(device)
    except NvmlError as error:
        return f"code {error.code}"


def test_a_replay_answers_as_the_library_did_and_refuses_setters(captured):
    plant, nvml, capture = captured
    again = replayed(json.loads(dumps(capture)))
    for index in (0, 1):
        real, device = nvml.device_by_index(index), again.device_by_index(index)
        assert again.uuid(device) == plant.uuid(index)
        assert again.device_by_uuid(plant.uuid(index)) == device
        for name in getters().keys() - {"total_energy_mj"}:
            before, after = answer(nvml, name, real), answer(again, name, device)
            assert (after, type(after)) == (before, type(before)), name
        ids = [abi.FIELD_POWER_INSTANT, abi.FIELD_POWER_AVERAGE, abi.FIELD_MEMORY_TEMPERATURE, 250]
        assert again.field_values(device, ids) == nvml.field_values(real, ids)
    assert code_of(again.set_power_limit_mw, 0, 1) == code_of(again.reset_locked_sm_clocks, 0) == abi.NO_PERMISSION


def test_a_replay_counts_on_in_its_own_time_and_never_falls(captured):
    _, _, capture = captured
    now, readings_mj = [0], []
    again = replayed(capture, lambda: now[0])
    for now[0] in range(0, 30 * 50_000_000, 50_000_000):
        readings_mj.append(again.total_energy_mj(0))
    assert readings_mj == sorted(readings_mj)
    assert len(set(readings_mj)) >= 8  # a tick every 100 ms for a second
    assert readings_mj[-1] == capture["devices"][0]["series"][-1][1]


def test_the_agents_own_reader_runs_on_a_replay(captured, tmp_path):
    clock = SimulatedClock(tmp_path / "plant")
    again = replayed(captured[2], clock.boot_ns)
    sample = DeviceReader(again, again.device_by_index(0), clock, lambda _: None).read(full=True, list_processes=True)
    assert sample.energy_mj > 0
    assert (sample.processes, sample.absent) == ((), {})


def test_pseudonyms_leave_no_name_behind_and_hold_together_in_a_canonical_text(captured):
    plant, nvml, capture = captured
    assert json.loads(dumps(capture)) == capture
    assert dumps(json.loads(dumps(capture))) == dumps(capture)
    assert capture["schema"] == SCHEMA
    text = dumps(with_pseudonyms(capture, b"secret"))
    for index in (0, 1):
        assert plant.uuid(index) in dumps(capture)
        assert plant.uuid(index) not in text
        assert str(nvml.ask("nvmlDeviceGetSerial", nvml.device_by_index(index))) not in text
    assert text == dumps(with_pseudonyms(capture, b"secret"))
    assert text != dumps(with_pseudonyms(capture, b"other"))
    again = replayed(json.loads(text))
    uuids = [again.uuid(i) for i in (0, 1)]
    assert len(set(uuids)) == 2
    assert [again.device_by_uuid(u) for u in uuids] == [0, 1]


def test_another_file_is_no_capture(tmp_path):
    for text in ("", "[]", "{}", '{"schema": "other"}'):
        (tmp_path / "x.json").write_text(text)
        assert "doctor --capture" in refusal(replay, tmp_path / "x.json")
    assert "No such file" in refusal(replay, tmp_path / "none")
