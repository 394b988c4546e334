"""A capture: nothing is changed by taking it, it holds what NVML said, and a replay says it again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.capture import SCHEMA, SETTERS, dumps, getters, take, with_pseudonyms
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from tests.doubles.nvml_replay import ReplayedNvml, replay

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
def node(tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    specs = [BoardSpec("H100-SXM5-80GB"), BoardSpec("V100-SXM2-16GB")]
    with Plant.create(tmp_path / "plant", specs, seed=11, manual=True) as plant:
        yield plant, tmp_path


@pytest.fixture
def captured(node):
    plant, folder = node
    nvml = RealNvml(library_path())
    nvml.init()
    plant.advance_to(plant.now_ns() + 10**9)  # the counters have ticked
    yield plant, nvml, take(nvml, SimulatedClock(folder / "plant"), [0, 1], lambda _: None, lambda _: None, 1.0)
    nvml.shutdown()


def functions_called(folder, then):
    """Every function of the library that pynvml looked up, which it does before each first call."""
    code = [sys.executable, "-c", _FUNCTIONS, str(library_path()), then]
    environ = dict(os.environ, WATTLENS_SIM=str(folder), PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    done = subprocess.run(code, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def changing(names):
    known = ("nvmlDeviceGet", "nvmlSystemGet", "nvmlInit", "nvmlShutdown", "nvmlErrorString")
    return [n for n in names if not n.startswith(known)]


def test_no_function_that_changes_anything_is_ever_called(node):
    plant, folder = node
    before = [(t.power_limit_mw, t.locked_mhz) for t in map(plant.truth, (0, 1))]
    called = functions_called(folder, "")
    assert len(called) > 50
    assert changing(called) == []
    assert [(t.power_limit_mw, t.locked_mhz) for t in map(plant.truth, (0, 1))] == before
    assert changing(functions_called(folder, "set")) == ["nvmlDeviceSetPowerManagementLimit"]  # the look-up does see setters


def test_getters_by_name_refuse_what_is_none(captured):
    _, nvml, _ = captured
    for name in ("nvmlDeviceSetPowerManagementLimit", "nvmlDeviceResetGpuLockedClocks", "nvmlDeviceClearEccErrorCounts"):
        with pytest.raises(ValueError, match="no getter"):
            nvml.ask(name, nvml.device_by_index(0))
    with pytest.raises(NvmlError) as error:
        nvml.ask("nvmlDeviceGetNothingOfTheKind")
    assert error.value.code == abi.FUNCTION_NOT_FOUND


def test_every_getter_of_the_protocol_is_in_it(captured):
    _, _, capture = captured
    by_other_ways = {
        "init", "shutdown", "driver_version", "device_count", "device_by_index", "device_by_uuid", "field_values",
        "process_utilization", "xid_events",
    }  # fmt: skip
    protocol = {n for n in vars(abi.Nvml) if not n.startswith(("_", *SETTERS)) and callable(getattr(abi.Nvml, n))}
    assert protocol == getters().keys() | by_other_ways
    for device in capture["devices"]:
        assert getters().keys() <= device["calls"].keys()
        assert [f[0] for f in device["fields"]] == list(range(1, 251))


def answer(nvml, name, device):
    """The answer, or the code of none."""
    try:
        return getattr(nvml, name)(device)
    except NvmlError as error:
        return f"code {error.code}"


def test_a_replay_answers_as_the_library_did(captured):
    plant, nvml, capture = captured
    replayed = ReplayedNvml(json.loads(dumps(capture)))
    replayed.init()
    for index in (0, 1):
        real, device = nvml.device_by_index(index), replayed.device_by_index(index)
        assert replayed.uuid(device) == plant.uuid(index)
        assert replayed.device_by_uuid(plant.uuid(index)) == device
        for name in getters().keys() - {"total_energy_mj"}:
            said, again = answer(nvml, name, real), answer(replayed, name, device)
            assert (again, type(again)) == (said, type(said)), name
        ids = [abi.FIELD_POWER_INSTANT, abi.FIELD_POWER_AVERAGE, abi.FIELD_MEMORY_TEMPERATURE, 250]
        assert replayed.field_values(device, ids) == nvml.field_values(real, ids)


def test_a_replay_counts_on_in_its_own_time_and_never_falls(captured):
    _, _, capture = captured
    now = [0]
    replayed = ReplayedNvml(capture, lambda: now[0])
    replayed.init()
    seen = []
    for _ in range(30):
        seen.append(replayed.total_energy_mj(0))
        now[0] += 50_000_000
    assert seen == sorted(seen)
    assert len(set(seen)) >= 8  # a tick every 100 ms for a second
    assert seen[-1] == capture["devices"][0]["series"][-1][1]


def test_the_agents_own_reader_runs_on_a_replay(captured, node):
    _, _, capture = captured
    clock = SimulatedClock(node[1] / "plant")
    replayed = ReplayedNvml(capture, clock.boot_ns)
    replayed.init()
    sample = DeviceReader(replayed, replayed.device_by_index(0), clock, lambda _: None).read(full=True, list_processes=True)
    assert sample.energy_mj > 0
    assert sample.processes == ()
    assert not sample.absent


def test_setters_of_a_replay_are_refused(captured):
    replayed = ReplayedNvml(captured[2])
    replayed.init()
    for call in (lambda: replayed.set_power_limit_mw(0, 1), lambda: replayed.reset_locked_sm_clocks(0)):
        with pytest.raises(NvmlError) as error:
            call()
        assert error.value.code == abi.NO_PERMISSION


def test_pseudonyms_leave_no_name_behind_and_hold_together(captured):
    plant, nvml, capture = captured
    text = dumps(with_pseudonyms(capture, b"secret"))
    for index in (0, 1):
        assert plant.uuid(index) in dumps(capture)
        assert plant.uuid(index) not in text
        assert str(nvml.ask("nvmlDeviceGetSerial", nvml.device_by_index(index))) not in text
    assert text == dumps(with_pseudonyms(capture, b"secret"))
    assert text != dumps(with_pseudonyms(capture, b"other"))
    replayed = ReplayedNvml(json.loads(text))
    replayed.init()
    uuids = [replayed.uuid(i) for i in (0, 1)]
    assert len(set(uuids)) == 2
    assert [replayed.device_by_uuid(u) for u in uuids] == [0, 1]


def test_the_text_is_canonical_and_reads_back(captured):
    _, _, capture = captured
    assert json.loads(dumps(capture)) == capture
    assert dumps(json.loads(dumps(capture))) == dumps(capture)
    assert capture["schema"] == SCHEMA


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "other"}'])
def test_another_file_is_no_capture(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match="doctor --capture"):
        replay(tmp_path / "x.json")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        replay(Path(tmp_path / "none"))
