"""Profiles of simulated GPUs from what the doctor reads, against the parameters of the plant."""

import json
import random
from pathlib import Path

import pytest

from energy_agent.metering.sensors.profile import PARAMETERS, no_profile, profile
from energy_agent.metering.sensors.steps import STEADY
from energy_agent.metering.sensors.traces import MIN_TICKS, SensorTraces
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.sensors import SENSOR_CLASSES, SENSOR_PARAMETERS, random_board
from tests.doubles.gpus import H100, V100
from tests.doubles.sensor_traces import traces_of, true_sensors, watch_gpus

DEFAULTS = [BoardSpec(sku, counter_model=model) for sku in (H100, V100) for model in ("full", "sampled")]


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    def make(specs, seed=31, seconds=60.0, **load):
        monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
        return [profile(traces_of(w)) for w in watch_gpus(tmp_path, specs, seed, seconds, **load)]

    return make


def within(estimate, value):
    if isinstance(estimate.value, str):
        return estimate.value == value
    return estimate.value is not None and estimate.low <= value <= estimate.high


def outcomes(sensor_profile, spec):
    """By parameter that the GPU has: whether its interval holds the truth; None where it is absent."""
    truth = true_sensors(spec)
    assert (
        not {name for name, e in sensor_profile.sensors.items() if e.value is not None}
        - truth.keys()
        - {"power_phase_ms", "average_phase_ms"}
    )
    return {
        n: None if sensor_profile.sensors[n].value is None else within(sensor_profile.sensors[n], v) for n, v in truth.items()
    }


def test_parameters_have_the_names_of_the_simulator():
    assert set(PARAMETERS) <= SENSOR_PARAMETERS.keys()
    assert set(no_profile("HANG").sensors) == set(PARAMETERS)


@pytest.mark.smoke
def test_every_clock_window_and_kind_of_counter_is_found(profiles):
    clock_settings = {"power_clock": 1, "power_tick_ms": 60, "power_jitter_ms": 6, "window_ms": 30}
    specs = [
        BoardSpec(H100, overrides={**clock_settings, "average_clock": 3, "average_tau_ms": 400}),
        BoardSpec(H100, overrides={**clock_settings, "average_clock": 1, "average_tick_ms": 40, "average_window_ms": 800}),
        BoardSpec(H100, overrides={"power_clock": 2, "window_ms": 40}),
        BoardSpec(H100, counter_model="sampled", overrides={"average_clock": 2, "average_window_ms": 1000}),
        BoardSpec(H100, overrides={"has_counter": 0}),
        BoardSpec(H100, overrides={"has_instant": 0}),
    ]
    results = profiles(specs)
    every = [outcomes(f, s) for f, s in zip(results, specs, strict=True)]
    assert all(o[name] is True for o in every for name in o if name.endswith("_clock"))
    assert [o.get("counter_sampled") for o in every] == [True, True, True, True, None, None]
    states = [state for o in every for state in o.values()]
    assert states.count(False) <= 3
    assert states.count(None) <= 1  # the kind of the counter that has no instant power next to it
    assert results[5].sensors["window_ms"].reason == "no instant power"
    assert results[4].sensors["tick_ms"].reason == "no energy counter"


@pytest.mark.smoke
def test_intervals_hold_the_truth_for_gpus_of_every_class(profiles):
    specs = [random_board(random.Random(f"{c}/{n}"), c) for c in SENSOR_CLASSES for n in range(2)] + DEFAULTS
    results = [outcomes(f, s) for f, s in zip(profiles(specs, seed=37), specs, strict=True)]
    states = [state for o in results for state in o.values()]
    assert states.count(False) <= 0.08 * len(states)
    for name in ("power_clock", "average_clock", "counter_sampled"):
        assert not [o for o in results if o.get(name) is False], name
    for name, share in (("tick_ms", 1.0), ("power_clock", 1.0), ("window_ms", 0.9), ("average_clock", 1.0)):
        has_value = [o[name] is not None for o in results if name in o]
        assert sum(has_value) >= share * len(has_value), name


def test_a_gain_cancels(profiles):
    specs = [BoardSpec(H100, counter_model=m, gain=g) for m in ("full", "sampled") for g in (0.8, 1.3)]
    ratios = [p.counter_to_power_ratio for p in profiles(specs, seconds=30.0)]
    assert sum(within(r, 1.0) for r in ratios) >= 3
    assert all(r.high - r.low < 0.08 for r in ratios)


def test_counter_includes_the_scope_of_the_power_it_sums(profiles):
    modules = [(0, 0), (250, 1), (250, 0)]
    specs = [BoardSpec(H100, gain=1.2, overrides={"module_w": w, "counter_of_module": c}) for w, c in modules]
    estimates = profiles([*specs, BoardSpec(H100, overrides={"has_counter": 0})], seconds=30.0)
    assert [p.counter_scope.value for p in estimates] == ["gpu", "module", "gpu", None]
    assert [p.counter_to_module_ratio.value is None for p in estimates] == [True, False, False, True]


def test_a_steady_load_shows_clocks_but_no_window(profiles):
    (sensor_profile,) = profiles([BoardSpec(H100)], seconds=20.0, intensity=(0.5, 0.5))
    assert within(sensor_profile.sensors["tick_ms"], 100)
    assert sensor_profile.tick_max_ms.high < 120
    for name in ("window_ms", "counter_sampled", "average_window_ms"):
        assert sensor_profile.sensors[name].value is None
        assert sensor_profile.sensors[name].reason.startswith(STEADY)


@pytest.mark.smoke
def test_short_levels_leave_a_window_out_rather_than_wrong(profiles):
    specs = [BoardSpec(H100, overrides={"power_clock": 1, "window_ms": 40, "has_counter": c}) for c in (0, 1)] * 4
    windows = [p.sensors["window_ms"] for p in profiles(specs, levels_s=(0.01, 1.0))]
    assert all(w.value is None or within(w, 40) for w in windows)


def test_the_phase_against_the_counter_is_found_where_the_clocks_do_not_drift(profiles):
    steady = {"power_clock": 1, "tick_jitter_ms": 0, "power_jitter_ms": 0}
    specs = [
        BoardSpec(H100, overrides={**steady, "power_tick_ms": 100, "power_phase_ms": 37}),
        BoardSpec(H100, overrides={**steady, "power_tick_ms": 97}),
        BoardSpec(H100, overrides={"power_clock": 1, "power_jitter_ms": 10}),
    ]
    phases = [p.sensors["power_phase_ms"] for p in profiles(specs, seconds=30.0)]
    assert within(phases[0], 37)
    assert phases[0].high - phases[0].low < 5
    assert [p.reason for p in phases[1:]] == ["it drifts against the counter's clock"] * 2


def test_a_real_gpu_has_the_clocks_and_average_that_were_published():
    """RTX 3090: both powers change every 100 ms, the average is one of a second (Yang and others, arXiv 2312.02741)."""
    trace = json.loads((Path(__file__).parent / "rtx3090.json").read_text())
    rows = [[(a * 10**6, b * 10**6, mw) for a, b, mw in trace[name]] for name in ("instant", "average")]
    sensors = profile(SensorTraces(trace["read_ms"], None, *rows)).sensors
    assert within(sensors["power_tick_ms"], 100)
    assert sensors["power_tick_ms"].high - sensors["power_tick_ms"].low < 2
    assert sensors["average_clock"].value == "power"
    assert within(sensors["average_window_ms"], 1000)
    assert sensors["average_tau_ms"].reason == "it is a boxcar"
    assert sensors["window_ms"].reason.startswith(STEADY)  # one step up and one down


def synthetic(seed, ticks, stalls=()):
    """A counter at 100 +- 5 ms, read every 2 ms, but not while `stalls` says so."""
    draw, t_ms, energy, rows = random.Random(seed), 0.0, 1000, []
    edges = []
    for _ in range(ticks):
        t_ms += 100 + draw.uniform(-5, 5)
        edges.append(t_ms)
    reads = [i for i in range(0, int(t_ms), 2) if not any(a <= i < b for a, b in stalls)]
    last, passed = 0, 0
    for now in reads:
        if sum(e <= now for e in edges) > passed:
            passed = sum(e <= now for e in edges)
            rows.append((last * 10**6, now * 10**6, energy + 30_000 * passed))
        last = now
    return SensorTraces(2.0, rows, None, None)


def test_reads_that_stall_bias_no_clock():
    stalls = [(k, k + 260) for k in range(500, 9_500, 900)]
    results = [profile(synthetic(seed, 120, stalls)) for seed in range(20)]
    assert sum(within(p.sensors["tick_ms"], 100) for p in results) >= 17
    assert sum(within(p.sensors["tick_jitter_ms"], 5) for p in results) >= 18
    assert all(p.sensors["tick_ms"].high - p.sensors["tick_ms"].low < 3 for p in results)


@pytest.mark.parametrize("ticks", [0, 1, 3, MIN_TICKS - 1])
def test_too_few_ticks_are_no_clock(ticks):
    sensor_profile = profile(synthetic(1, ticks))
    assert sensor_profile.sensors["tick_ms"].value is None
    assert str(MIN_TICKS) in sensor_profile.sensors["tick_ms"].reason or ticks <= 1
