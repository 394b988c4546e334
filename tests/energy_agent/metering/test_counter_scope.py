"""What a counter includes, from readings of a simulated sensor and of drawn ones: the right scope, never a wrong one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.boundary import CounterScope
from energy_agent.core.energy import DeviceSample
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.metering.counter_scope import ScopeMeter
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim.gpu.boards import BoardSpec
from tests.doubles.gpus import A100, H100, S
from tests.support import examples

GPU, MODULE, UNKNOWN = CounterScope.GPU_MEASURED, CounterScope.MODULE_MEASURED, CounterScope.UNKNOWN


def scope_of(samples):
    meter = ScopeMeter(gap_ns=25 * S)
    for sample in samples:
        meter.feed(sample)
    return meter.scope


def readings(seed, *, module_w, of_module, answers, swing_w=0.0, seconds=300, error=0.0):
    """Samples of a GPU whose power differs by `swing_w` at most each second; its counter is off by `error`."""
    draw, counter_mj = random.Random(seed), 1e9
    powers = [400 + draw.uniform(-swing_w, swing_w) for _ in range(seconds + 1)]
    for t, watts in enumerate(powers):
        yield DeviceSample(
            "g", t * S, t * S, energy_mj=round(counter_mj), power_mw=round(1000 * watts),
            power_average_mw=round(1000 * powers[max(0, t - 1)]),
            module_power_mw=round(1000 * (watts + module_w)) if answers else None,
        )  # fmt: skip
        counter_mj += (1 + error) * 1000 * (watts + (module_w if of_module else 0))


@pytest.mark.parametrize(
    ("module_w", "of_module", "answers", "scope"),
    [
        (300, True, True, MODULE), (300, False, True, GPU), (300, False, False, GPU), (300, True, False, UNKNOWN),
        (0, False, True, UNKNOWN),  # a driver that answers each scope by the same power
        (-400, False, True, GPU),  # or the module by 0
    ],
)  # fmt: skip
def test_scope_matches_the_power_that_the_counter_sums(module_w, of_module, answers, scope):
    assert scope_of(readings(1, module_w=module_w, of_module=of_module, answers=answers)) is scope


def test_a_minute_of_readings_is_too_little():
    assert scope_of(readings(1, module_w=300, of_module=True, answers=True, seconds=59)) is UNKNOWN


def test_a_counter_that_starts_again_and_readings_far_apart_decide_nothing():
    samples = list(readings(1, module_w=300, of_module=True, answers=True, seconds=59))
    later = [sample.boot_ns + 10**6 * S for sample in samples]
    samples += [DeviceSample("g", t, t, s.energy_mj - 10**9, s.power_mw) for s, t in zip(samples, later, strict=True)]
    assert scope_of(samples) is UNKNOWN


@given(st.integers(0, 10**9), st.integers(0, 800), st.booleans(), st.booleans(), st.floats(0, 400), st.floats(-0.02, 0.02))
@settings(max_examples=examples(1000, quick=60), deadline=None)
def test_no_scope_is_decided_that_the_counter_does_not_have(seed, module_w, of_module, answers, swing_w, error):
    scope = scope_of(readings(seed, module_w=module_w, of_module=of_module, answers=answers, swing_w=swing_w, error=error))
    if module_w > 0.15 * (400 + module_w):  # else both may fit
        assert scope in ({MODULE, UNKNOWN} if of_module else {GPU, UNKNOWN})


@pytest.mark.parametrize("has_average", [True, False])
@pytest.mark.parametrize("of_module", [True, False])
@given(st.floats(0.1, 0.9), st.floats(0.05, 0.95), st.integers(100, 800), st.integers(-3, 3), st.integers(1, 20))
@settings(max_examples=examples(300, quick=40), deadline=None)
def test_a_load_with_the_period_of_the_readings_decides_nothing_wrong(
    of_module, has_average, duty, phase, module_w, drift, cycles
):
    """Power of a square wave with about `cycles` periods per second, whose phase differs by `drift` / 1000 per reading."""
    period_s = 1 / (cycles + drift / 1000)

    def energy_j(t):
        whole, part = divmod(t / period_s + phase, 1)
        return 200 * t + 600 * period_s * (whole * duty + min(part, duty) - min(phase, duty))

    def sample(t):
        power_mw = 800_000 if (t / period_s + phase) % 1 < duty else 200_000
        average_mw = round(1000 * (energy_j(t) - energy_j(t - 1))) if has_average else None
        counter_mj = 10**9 + round(1000 * (energy_j(t) + (module_w * t if of_module else 0)))
        return DeviceSample("g", t * S, t * S, energy_mj=counter_mj, power_mw=power_mw, power_average_mw=average_mw,
                            module_power_mw=power_mw + 1000 * module_w)  # fmt: skip

    scope = scope_of(sample(t) for t in range(200))
    assert scope in (({MODULE, UNKNOWN} if of_module else {GPU, UNKNOWN}) if has_average else {UNKNOWN})


@pytest.mark.parametrize(
    ("sku", "module_w", "of_module", "scope"),
    [
        (H100, 0, 0, GPU), (H100, 250, 1, MODULE), (H100, 250, 0, GPU),
        (A100, 0, 0, GPU), (A100, 250, 1, UNKNOWN), (A100, 250, 0, UNKNOWN),  # without an average
    ],
)  # fmt: skip
def test_readings_of_the_binding_decide_it(gpus, tmp_path, sku, module_w, of_module, scope):
    rig = gpus(BoardSpec(sku, gain=1.04, overrides={"module_w": module_w, "counter_of_module": of_module}))
    meter = ScopeMeter(25 * S)
    reader = DeviceReader(rig.nvml, rig.devices[0], SimulatedClock(tmp_path / "plant"), lambda _: None)
    slot = rig.attach(0)
    for second in range(120):
        if second % 20 == 0:
            rig.plant.submit(0, slot, reference_ns=12 * S, memory_boundness=0.5, intensity=0.8)
        rig.step(1.0)
        meter.feed(reader.read(full=True, list_processes=False))
    assert meter.scope is scope
