"""Sensor profiles inferred from the sensors' responses, against the parameters of the plant's GPUs."""

import os
import random
from itertools import pairwise

import pytest

from energy_agent.devices.nvml.library import RealNvml
from energy_agent.metering.sensor_profile import MIN_TICKS, STEADY, SensorTick, profile
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim.gpu.boards import BoardSpec, board
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from wattlens.doctor.watching import GpuWatcher, watch

SKUS = ("H100-SXM5-80GB", "H200-SXM", "A100-SXM4-80GB", "V100-SXM2-16GB", "L40S")
SPECS = [BoardSpec(sku, counter_model=model) for sku in SKUS for model in ("full", "sampled")] + [
    BoardSpec("A100-SXM4-80GB", counter_model="full", tick_ms=80, tick_jitter_ms=9, overrides={"window_ms": 40}),
    BoardSpec("H100-SXM5-80GB", counter_model="full", gain=1.2, offset_w=7.0, tick_jitter_ms=0),
]


def changes(folder, monkeypatch, specs, seed, seconds, *, steady=False, before=lambda plant: None):
    """Changes of every board under a load that steps now and then, which nobody arranged with the ticks."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("WATTLENS_SIM", str(folder))
    draw = random.Random(seed)
    with Plant.create(folder / "plant", specs, seed=seed, manual=True) as plant:
        nvml = RealNvml(library_path())
        nvml.init()
        clock = SimulatedClock(folder / "plant")
        before(plant)
        watched = {i: GpuWatcher(nvml, nvml.device_by_index(i), clock, lambda _: None) for i in range(len(specs))}
        slots = [plant.attach_process(i, os.getpid(), memory_b=0) for i in watched]
        due, busy = [clock.boot_ns()] * len(specs), [False] * len(specs)

        def load():
            for i in watched if not steady else ():
                if clock.boot_ns() >= due[i]:
                    length_ns = int(draw.uniform(0.3, 1.5) * 1e9)
                    due[i], busy[i] = clock.boot_ns() + length_ns, not busy[i]
                    if busy[i]:  # memory-bound work lasts as long at any clock, and half of it stays below the cap
                        plant.submit(i, slots[i], reference_ns=length_ns, memory_boundness=1.0, intensity=0.5)

        assert watch(watched, clock, seconds, idle=load, pause_s=0.001) == {}
        nvml.shutdown()
    return [watched[i].changes for i in watched]


def truth(spec, name):
    values = dict(board(spec.sku).values) | dict(spec.overrides)
    values |= {k: v for k, v in (("tick_ms", spec.tick_ms), ("tick_jitter_ms", spec.tick_jitter_ms)) if v is not None}
    return values[name]


def within(estimate, value):
    return estimate.value is not None and estimate.low <= value <= estimate.high


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    """Profiles of boards of every kind under several loads."""
    made = []
    for seed in (31, 47, 63):
        with pytest.MonkeyPatch.context() as patch:
            runs = changes(tmp_path_factory.mktemp(str(seed)), patch, SPECS, seed, 30.0)
        made += [(spec, profile(run)) for spec, run in zip(SPECS, runs, strict=True)]
    return made


@pytest.mark.smoke
def test_the_bounds_hold_the_truth_and_are_narrow(profiles):
    n = len(profiles)
    for name in ("tick_ms", "tick_jitter_ms"):
        good = sum(within(getattr(p, name), truth(spec, name)) for spec, p in profiles)
        assert good >= 0.9 * n, (name, good, n)
    for spec, p in profiles:
        tick, jitter = truth(spec, "tick_ms"), truth(spec, "tick_jitter_ms")
        assert p.tick_ms.high - p.tick_ms.low < 0.02 * tick
        assert tick + jitter <= p.tick_max_ms.high <= tick + jitter + 0.1 * tick
        assert p.counter_step_mj.value == 1
    told = [(spec, p) for spec, p in profiles if p.power_window_ms.value is not None]
    assert len(told) >= 0.9 * n
    good = sum(within(p.power_window_ms, truth(spec, "window_ms")) for spec, p in told)
    assert good >= 0.9 * len(told), (good, len(told))
    sees_more = [
        (spec, p) for spec, p in told if spec.counter_model == "full" and truth(spec, "window_ms") < truth(spec, "tick_ms")
    ]
    widths = [(p.power_window_ms.high - p.power_window_ms.low) / truth(spec, "tick_ms") for spec, p in sees_more]
    assert max(widths) < 0.35
    assert sum(widths) / len(widths) < 0.15


@pytest.mark.smoke
def test_the_kind_of_counter_is_told_right_or_not_at_all(profiles):
    kinds = []
    for spec, p in profiles:
        whole = truth(spec, "window_ms") == truth(spec, "tick_ms")  # then samples leave nothing out
        kinds.append((p.counter_model, "full" if whole else spec.counter_model))
    assert all(kind in (true, "undecided") for kind, true in kinds), kinds
    assert sum(kind == true for kind, true in kinds) >= 0.8 * len(kinds)


@pytest.mark.smoke
def test_a_gain_cancels_in_counter_over_power(tmp_path, monkeypatch):
    specs = [BoardSpec("H100-SXM5-80GB", counter_model=m, gain=g) for m in ("full", "sampled") for g in (0.8, 1.0, 1.3)]
    ratios = [profile(run).counter_to_power_ratio for run in changes(tmp_path, monkeypatch, specs, 41, 30.0)]
    assert all(within(r, 1.0) for r in ratios), ratios
    assert all(r.high - r.low < 0.06 for r in ratios)


def test_a_steady_load_tells_ticks_but_no_window(tmp_path, monkeypatch):
    (run,) = changes(tmp_path, monkeypatch, [BoardSpec("H100-SXM5-80GB")], 43, 20.0, steady=True)
    found = profile(run)
    assert within(found.tick_ms, 100)
    assert found.power_window_ms.value is None
    assert found.power_window_ms.reason.startswith(STEADY)
    assert found.power_age_ms.as_json() == {"absent": found.power_window_ms.reason}
    assert found.counter_model == "undecided"


def test_power_that_is_a_mean_of_a_second_is_seen_to_be_one(tmp_path, monkeypatch):
    def no_instant_power(plant):
        plant.fault(0, "not_supported", call="186")

    (run,) = changes(tmp_path, monkeypatch, [BoardSpec("H100-SXM5-80GB")], 59, 40.0, before=no_instant_power)
    found = profile(run)
    assert within(found.power_window_ms, 1000)
    assert found.counter_model == "undecided"


def synthetic(seed, ticks, blind=()):
    """A counter at 100 +- 5 ms, looked at every ms, but not while `blind` says so."""
    draw, t_ms, energy, rows = random.Random(seed), 0.0, 1000, []
    edges = []
    for _ in range(ticks):
        t_ms += 100 + draw.uniform(-5, 5)
        edges.append(t_ms)
    looks = [i for i in range(int(t_ms)) if not any(a <= i < b for a, b in blind)]
    seen = 0
    for before, now in pairwise(looks):
        passed = sum(e <= now for e in edges[seen:])
        if passed:
            seen += passed
            energy += passed * 30_000
            rows.append(SensorTick(before * 10**6, now * 10**6, energy, 300_000))
    return rows


@pytest.mark.smoke
def test_looking_away_biases_nothing():
    blind = [(k, k + 260) for k in range(500, 9_500, 900)]
    found = [profile(synthetic(seed, 120, blind)).tick_ms for seed in range(40)]
    assert sum(within(e, 100) for e in found) >= 36
    assert all(e.high - e.low < 3 for e in found)


@pytest.mark.parametrize("ticks", [0, 1, 3, MIN_TICKS - 1])
def test_too_few_ticks_are_no_profile(ticks):
    found = profile(synthetic(1, ticks))
    assert found.tick_ms.value is None
    assert str(MIN_TICKS) in found.tick_ms.reason
