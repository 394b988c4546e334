"""The file of measured sensors: what the agent takes from it, and which files it refuses."""

import json

import pytest

from energy_agent.accounting.device import TICK_DEFAULT_NS, SensorFor
from energy_agent.core.energy import DeviceInfo
from energy_agent.core.errors import UsageError
from energy_agent.node.sensor_file import SCHEMA, tick_ns_by_board

H100 = DeviceInfo("GPU-a", 0, "H100", "Hopper", "", "", power_limit_max_mw=700_000)


def write_profile(folder, boards, schema=SCHEMA):
    path = folder / "sensors.json"
    path.write_text(json.dumps({"schema": schema, "boards": boards}))
    return path


def measured(uuid, name, high):
    return {"uuid": uuid, "name": name, "tick_max_ms": {"value": high - 1, "low": high - 2, "high": high, "n": 300}}


def test_a_board_has_its_own_tick_and_others_of_its_name_the_longest(tmp_path):
    unknown = {"uuid": "GPU-c", "name": "L40S", "tick_max_ms": {"absent": "too few"}}
    boards = [measured("GPU-a", "H100", 103.2), measured("GPU-b", "H100", 107.5), unknown]
    sensor_for = SensorFor(2_500_000_000, tick_ns_by_board(write_profile(tmp_path, boards)))
    assert sensor_for(H100).tick_ns == 103_200_000
    assert sensor_for(DeviceInfo("GPU-z", 1, "H100", "Hopper", "", "")).tick_ns == 107_500_000
    assert sensor_for(DeviceInfo("GPU-c", 2, "L40S", "Ada", "", "")).tick_ns == TICK_DEFAULT_NS


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "x", "boards": []}', '{"schema": "wattlens-sensors/1", "boards": [{}]}']
)
def test_another_file_is_refused_by_the_name_of_the_key(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"sources\.nvml\.sensor_profile.*doctor --sensors"):
        tick_ns_by_board(path)


@pytest.mark.parametrize("high", [0.0, -5, 1e9, float("nan")])
def test_an_impossible_tick_is_refused(tmp_path, high):
    with pytest.raises(UsageError, match="tick"):
        tick_ns_by_board(write_profile(tmp_path, [measured("GPU-a", "H100", high)]))


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        tick_ns_by_board(tmp_path / "none.json")
