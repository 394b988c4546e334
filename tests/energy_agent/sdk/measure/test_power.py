"""Windows on GPUs without an energy counter: the interval holds the truth, and a GPU without any sensor has a reason."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.boundary import NO_SENSOR
from energy_agent.sdk.measure.power import INSTANT_S, PowerReadings, integrated
from tests.energy_agent.nodes import make_plant
from tests.energy_agent.sdk.measure.test_measurement import SHORT, run
from tests.support import examples

levels = st.lists(st.tuples(st.floats(0.06, 0.6), st.integers(60, 700)), min_size=1, max_size=12)


def drawn_j(course, start_s, end_s):
    """Energy of a GPU that draws each of these (seconds, W) in turn, over and over."""
    length_s, joules, at_s = sum(s for s, _ in course), 0.0, 0.0
    while at_s < end_s:
        for seconds, power_w in course:
            joules += power_w * max(0.0, min(at_s + seconds, end_s) - max(at_s, start_s))
            at_s += seconds
    return joules if length_s else 0.0


@settings(deadline=None, max_examples=examples(150))
@given(levels, st.floats(0.025, 0.1), st.floats(0.0, 1.0), st.floats(0.0, 0.3), st.floats(0.2, 3.0))
def test_interval_of_integrated_power_holds_the_truth(course, tick_s, phase, start_s, length_s):
    """The sensor shows, from each of its ticks on, the mean power since the tick before."""
    start_s, readings = 1.0 + start_s, PowerReadings(INSTANT_S)
    for k in range(5, int((start_s + length_s + 0.3) / 0.02)):
        at_s = 0.02 * k
        ticked_s = (int(at_s / tick_s - phase) + phase) * tick_s
        readings.feed(at_s - 0.001, at_s, drawn_j(course, ticked_s - tick_s, ticked_s) / tick_s)
    joules, half_j = integrated(list(readings.ticks), INSTANT_S, start_s, start_s + length_s)
    assert abs(joules - drawn_j(course, start_s, start_s + length_s)) <= half_j


def test_interval_is_narrow_under_a_steady_load_and_wide_over_a_pause_of_readings():
    halves = []
    for pause_s in (0.0, 1.0):
        readings = PowerReadings(INSTANT_S)
        for k in range(150):
            at_s = 0.02 * k + (pause_s if k > 75 else 0.0)
            readings.feed(at_s, at_s + 0.001, 400.0)
        joules, half_j = integrated(list(readings.ticks), INSTANT_S, 0.5, 2.5)
        assert joules == pytest.approx(800.0)
        halves.append(half_j)
    assert halves[0] <= 0.06 * 800
    assert halves[1] >= 400


def test_readings_are_kept_for_seconds_and_counted():
    readings = PowerReadings(INSTANT_S)
    for k in range(1_000):
        readings.feed(0.02 * k, 0.02 * k, 100.0)
    assert len(readings.ticks) <= 252
    assert all(b.energy_j > a.energy_j and b.doubt_j >= a.doubt_j for a, b in pairwise(readings.ticks))
    assert [readings.ticks_since(at_s) for at_s in (0.0, 19.7, 19.9, 30.0)] == [2, 2, 0, 0]


@pytest.mark.parametrize("calls", [("83", "nvmlDeviceGetTotalEnergyConsumption"), ("nvmlDeviceGetFieldValues",)])
def test_a_gpu_without_a_counter_is_measured_by_its_power(tmp_path, calls):
    with make_plant(tmp_path / "node", 1) as plant:
        for call in calls:
            plant.fault(0, "not_supported", call=call)
        truth = plant.truth(0)
        window = run(tmp_path / "node", SHORT)
        device, reason = next(iter(window["devices"].values()))
        assert (window["method"], window["reason"]) == ("integrated power", "")
        assert reason == "the GPU has no energy counter, so its power readings are integrated"
        assert abs(device - truth.power_w * truth.gain * window["seconds"]) <= window["edge"]
        assert 0.05 * device < window["edge"]


def test_a_gpu_without_a_counter_and_without_power_has_a_reason_and_no_joules(tmp_path):
    with make_plant(tmp_path / "node", 2) as plant:
        for call in ("nvmlDeviceGetFieldValues", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"):
            plant.fault(0, "not_supported", call=call)
        window = run(tmp_path / "node", SHORT)
        assert window["joules"] is None
        assert f"{plant.uuid(0)}: {NO_SENSOR}: NOT_SUPPORTED" in window["reason"]
        assert window["devices"][plant.uuid(1)][0] > 0
        alone = "with measure(gpus=0) as m: time.sleep(0.15)\nprint(json.dumps(as_record(m)))"
        assert run(tmp_path / "node", alone)["reason"] == f"{NO_SENSOR}: NOT_SUPPORTED"


def test_power_readings_of_one_gpu_and_the_counter_of_another_add_up(tmp_path):
    with make_plant(tmp_path / "node", 2) as plant:
        plant.fault(0, "not_supported", call="83")
        window = json.loads(json.dumps(run(tmp_path / "node", SHORT)))
        assert window["method"] == "counter, integrated power"
        assert window["joules"] == pytest.approx(sum(joules for joules, _ in window["devices"].values()))
