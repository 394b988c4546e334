"""Each sensor parameter against readings that Python computes from the true power of each ms."""

import math
import os
import random
from itertools import pairwise

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.sim import scenario
from energy_agent.sim.gpu.boards import BoardSpec, boards
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.sensors import RANDOM_RANGES, SENSOR_CLASSES, SENSOR_PARAMETERS, check_sensors, random_board
from tests.doubles.gpus import H100, V100, S
from tests.support import refusal

ENERGY, AVERAGE, INSTANT = 83, 185, 186
MS = 10**6
BOXCAR = {"average_window_ms": 400}
NOT_SUPPORTED = 3


def spec(**parameters):
    return BoardSpec(H100, gain=1.0, overrides=parameters)


class Record:
    """A GPU under random levels, read every ms: `power_mw[t]` is the true power of the ms before reading `t`."""

    def __init__(self, rig, ms=3000, gpu=0, seed=3):
        draw, slot = random.Random(seed), rig.attach(gpu)
        self.power_mw, self.instant, self.average, self.counter, self.true_uj = [], [], [], [], []
        due = 0
        for t in range(ms):
            if t >= due:
                hold = draw.choice((10, 30, 80, 200, 500))
                due = t + hold
                rig.plant.submit(
                    gpu, slot, reference_ns=hold * MS, memory_boundness=1.0, intensity=draw.uniform(0, 1)
                )  # as long at any clock
            before = rig.truth(gpu).true_uj
            rig.step(0.001)
            after = rig.truth(gpu).true_uj
            energy, average, instant = rig.nvml.field_values(rig.devices[gpu], (ENERGY, AVERAGE, INSTANT))
            self.power_mw.append(after - before)
            self.true_uj.append(after)
            self.instant.append(instant.value)
            self.average.append(average.value)
            self.counter.append(energy.value)

    def mean_mw(self, t, length):
        return sum(self.power_mw[t - length + 1 : t + 1]) / length


def changes(values):
    return [t for t, (a, b) in enumerate(pairwise(values), 1) if a != b]


def gaps(values, at_most=10**6):
    """Times between changes; longer ones, in which a reading changed to the same value, are left out."""
    return [b - a for a, b in pairwise(changes(values)) if b - a <= at_most]


def test_instant_power_on_a_clock_of_its_own_is_the_mean_of_its_window(gpus):
    record = Record(gpus(spec(power_clock=1, power_tick_ms=70, power_jitter_ms=14, window_ms=40)))
    ticks = changes(record.instant)
    assert len(ticks) > 35
    for t in ticks:
        if t >= 40:
            assert record.instant[t] == pytest.approx(record.mean_mw(t, 40), abs=3)
    assert 56 <= min(gaps(record.instant)) < 62
    assert 78 < max(gaps(record.instant, 110)) <= 84
    assert set(gaps(record.counter)) <= set(range(95, 106))
    assert len(set(ticks) & set(changes(record.counter))) < 5


def test_phases_are_those_given(gpus):
    given = {"tick_ms": 100, "tick_jitter_ms": 0, "tick_phase_ms": 10}
    rig = gpus(spec(**given, power_clock=1, power_tick_ms=50, power_jitter_ms=0, power_phase_ms=33))
    record = Record(rig, 1000)
    assert {t % 100 for t in changes(record.counter)} == {10}  # reading t ends the ms t + 1, the first tick is at 1 + phase
    assert {t % 50 for t in changes(record.instant)} == {43}  # 33 ms after the counter's


def test_phases_are_drawn_from_the_seed(gpus):
    def phases(seed):
        rig = gpus(*[spec(tick_jitter_ms=0, power_clock=1, power_tick_ms=100)] * 6, seed=seed)
        return [(changes(r.counter)[0] - changes(r.instant)[0]) % 100 for r in (Record(rig, 400, gpu) for gpu in range(6))]

    drawn = phases(1)
    assert drawn == phases(1) != phases(2)
    assert len(set(drawn)) > 3


@pytest.mark.parametrize(
    ("name", "window_ms", "settings"),
    [("instant", 20, {"window_ms": 20}), ("average", 400, {"average_clock": 3, **BOXCAR})],
)
def test_fresh_power_and_its_average_are_those_of_the_window_before_each_read(gpus, name, window_ms, settings):
    record = Record(gpus(spec(power_clock=2, **settings)), 1000)
    for t in range(window_ms, 1000):
        assert getattr(record, name)[t] == pytest.approx(record.mean_mw(t, window_ms), abs=3)


@pytest.mark.parametrize("average_clock", [0, 1, 2, 3])
@pytest.mark.parametrize("tau_ms", [0, 250.5])
def test_the_average_is_a_boxcar_or_exponential_at_the_ticks_of_its_clock(gpus, average_clock, tau_ms):
    shape = {"average_tau_ms": tau_ms} if tau_ms else BOXCAR
    settings = {"average_tick_ms": 60, "average_jitter_ms": 12}
    rig = gpus(spec(average_clock=average_clock, power_clock=1, power_tick_ms=80, power_jitter_ms=0, **settings, **shape))
    idle_mw = rig.truth().power_w * 1000
    record = Record(rig)
    expected, exponential = [], idle_mw
    for t, power_mw in enumerate(record.power_mw):
        exponential += (power_mw - exponential) * (1 - math.exp(-1 / 250.5))
        boxcar = (sum(record.power_mw[max(0, t - 399) : t + 1]) + idle_mw * max(0, 399 - t)) / 400
        expected.append(exponential if tau_ms else boxcar)
    ticks = range(3000) if average_clock == 2 else changes(record.average)
    assert len(ticks) >= 25
    for t in ticks:
        assert record.average[t] == pytest.approx(expected[t], abs=5)
    if average_clock == 0:
        assert set(changes(record.average)) <= set(changes(record.counter))
    if average_clock == 3:
        assert len({t % 80 for t in changes(record.average) + changes(record.instant)}) == 1
    if average_clock == 1:
        assert set(gaps(record.average, 95)) <= set(range(48, 73))
        assert len(set(gaps(record.average))) > 10


@pytest.mark.parametrize("lag_ms", [0, 30, 200])
@pytest.mark.parametrize("sampled", [0, 1])
def test_a_counter_with_a_constant_lag_shows_the_energy_of_before(gpus, lag_ms, sampled):
    record = Record(gpus(spec(counter_lag_ms=lag_ms, counter_sampled=sampled, tick_jitter_ms=20, window_ms=25)))
    ticks = [t for t in changes(record.counter) if t > 300]
    assert len(ticks) > 20
    for a, b in pairwise(ticks):
        mean_mw = record.mean_mw(b - lag_ms, 25 if sampled else b - a)
        assert record.counter[b] - record.counter[a] == pytest.approx(mean_mw * (b - a) / 1000, abs=3)


def test_a_counter_with_a_lag_loses_no_energy(gpus):
    rig = gpus(spec(counter_lag_ms=200))
    record = Record(rig)
    rig.step(1.0)  # without work, power is steady
    (energy,) = rig.nvml.field_values(rig.devices[0], (ENERGY,))
    idle_mj = rig.truth().power_w * 1000 * 0.3
    assert energy.value == pytest.approx(rig.truth().true_uj / 1000, abs=idle_mj + 1)
    assert energy.value > record.true_uj[-1] / 1000


@pytest.mark.parametrize("power_clock", [0, 1, 2])
def test_a_counter_integrates_or_samples_whatever_the_clock_of_power(gpus, power_clock):
    for sampled in (0, 1):
        record = Record(gpus(spec(counter_sampled=sampled, power_clock=power_clock, tick_jitter_ms=20, window_ms=25)))
        ticks = changes(record.counter)
        assert len(ticks) > 20
        for a, b in pairwise(ticks):
            energy_mj = record.mean_mw(b, 25) * (b - a) / 1e3 if sampled else (record.true_uj[b] - record.true_uj[a]) / 1e3
            assert record.counter[b] - record.counter[a] == pytest.approx(energy_mj, abs=2)


def test_missing_sensors_are_not_supported(gpus):
    rig = gpus(spec(), spec(has_counter=0), spec(has_instant=0), spec(has_average=0))
    codes = [[v.code for v in rig.nvml.field_values(d, (ENERGY, 191, AVERAGE, INSTANT))] for d in rig.devices]
    assert codes[0] == [0, 0, 0, 0]
    assert codes[1] == [NOT_SUPPORTED, NOT_SUPPORTED, 0, 0]
    assert codes[2] == [0, 0, 0, NOT_SUPPORTED]
    assert codes[3] == [0, 0, NOT_SUPPORTED, 0]
    with pytest.raises(Exception, match="NOT_SUPPORTED"):
        rig.nvml.total_energy_mj(rig.devices[1])


def test_gpus_tick_in_step_or_on_their_own(gpus):
    settings = {"power_clock": 1, "power_tick_ms": 90, "power_jitter_ms": 18, "tick_jitter_ms": 20}
    for shared in (0, 1):
        rig = gpus(*[spec(**settings, clock_shared=shared)] * 2)
        slots = [rig.attach(gpu) for gpu in range(2)]
        ticks = [([], []), ([], [])]
        last = [[0, 0], [0, 0]]
        for t in range(2000):
            for gpu in range(2):  # a level per ms, so that each tick shows
                rig.plant.submit(gpu, slots[gpu], reference_ns=MS, memory_boundness=1.0, intensity=(t % 97) / 97)
            rig.step(0.001)
            for gpu in range(2):
                for k, value in enumerate(rig.nvml.field_values(rig.devices[gpu], (ENERGY, INSTANT))):
                    if value.value != last[gpu][k]:
                        last[gpu][k] = value.value
                        ticks[gpu][k].append(t)
        assert min(len(t) for pair in ticks for t in pair) > 18
        assert (ticks[0] == ticks[1]) == bool(shared)


@pytest.mark.parametrize("power_clock", [1, 2])
def test_a_stuck_sensor_shows_its_last_value_whatever_its_clock(gpus, power_clock):
    rig = gpus(spec(power_clock=power_clock, average_clock=3, **BOXCAR))
    rig.load(1.0, 0.7)
    rig.step(0.5)

    def read():
        return [v.value for v in rig.nvml.field_values(rig.devices[0], (AVERAGE, INSTANT))]

    before = read()
    rig.plant.fault(0, "stuck_sensor")
    rig.step(0.37)
    assert read() == before
    rig.plant.clear(0, "stuck_sensor")
    rig.step(0.2)
    assert read()[0] > before[0]


def test_readings_do_not_depend_on_how_often_a_reader_looks(tmp_path):
    """Own clocks and exponential averages, advanced in steps of 1 ms and in steps of any length."""

    def readings(steps):
        folder = tmp_path / str(len(steps))
        folder.mkdir()
        values = {"power_clock": 1, "power_jitter_ms": 9, "average_clock": 1, "average_tau_ms": 300.0}
        with Plant.create(folder / "plant", [spec(**values)], seed=4, manual=True, start_utc_ns=S) as plant:
            plant.submit(0, plant.attach_process(0, os.getpid(), memory_b=0), reference_ns=S, memory_boundness=1.0)
            for ms in steps:
                plant.advance_to(plant.now_ns() + ms * MS)
            truth = plant.truth(0)
            return truth.true_uj, truth.sensed_uj, truth.counter_mj

    assert readings([1] * 2000) == readings([700, 650, 3, 647])


def test_wrong_parameters_are_refused(tmp_path):
    for overrides, says in (
        ({"tick_jitter_ms": 100}, "tick_ms less its jitter"),
        ({"power_tick_ms": 5, "power_jitter_ms": 5}, "power_tick_ms less"),
        ({"power_clock": 3}, "power_clock: expected a whole number from 0 to 2"),
        ({"window_ms": 2.5}, "window_ms: expected a whole"),
        ({"average_window_ms": 3000}, "average_window_ms"),
        ({"average_window_ms": 10, "average_tau_ms": 3}, "exclude each other"),
        ({"average_clock": 1}, "average_clock: without"),
        ({"window_ms": math.nan}, "window_ms"),
    ):
        assert says in refusal(Plant.create, tmp_path / "plant", [BoardSpec(V100, overrides=overrides)], seed=1)


def test_random_gpus_are_of_their_class_and_within_the_ranges(tmp_path):
    specs = {c: [random_board(random.Random(f"{c}{n}"), c) for n in range(60)] for c in SENSOR_CLASSES}
    everything = [s for group in specs.values() for s in group]
    assert {s.sku for s in everything} == set(boards())
    for board in everything:
        numbers = {**boards()[board.sku].values, "counter_sampled": 0.0, **board.overrides}
        check_sensors(numbers)
        for name in ("tick_ms", "power_tick_ms", "average_tick_ms"):
            assert RANDOM_RANGES[name].low <= numbers[name] <= RANDOM_RANGES[name].high
        assert board.name == "NVIDIA GPU"
    for name in ("tick_ms", "tick_jitter_ms", "power_tick_ms", "power_jitter_ms", "window_ms", "average_window_ms"):
        assert len({s.overrides[name] for s in everything}) > 10
    of = {c: [s.overrides for s in group] for c, group in specs.items()}
    assert {o["power_clock"] for o in of["separate_clocks"]} == {1.0}
    assert {o["power_clock"] for o in of["fresh_power"]} == {2.0}
    assert {o["counter_sampled"] for o in of["sampled_counter"]} == {1.0}
    assert {o["has_instant"] for o in of["no_instant"]} == {0.0}
    assert {o["has_counter"] for o in of["no_counter"]} == {0.0}
    assert random_board(random.Random(5), "any") == random_board(random.Random(5), "any")
    assert random_board(random.Random(5), "any", in_step=True, sku=V100).overrides["clock_shared"] == 1.0
    assert "shared_clock" in refusal(random_board, random.Random(1), "odd")
    with Plant.create(tmp_path / "plant", everything[::11], seed=1, manual=True) as plant:
        plant.advance_to(plant.now_ns() + 3 * S)


def test_a_scenario_sets_sensors_by_name_and_draws_them_at_random():
    text = """
boards:
  - {count: 2, sku: A40, in_step: true, sensors: {power_clock: own, power_tick_ms: 50, has_average: 0}}
  - {count: 3, sku: H100-SXM5-80GB, random: separate_clocks, gain: 1.1}
  - {count: 2, sku: H100-SXM5-80GB, random: any, in_step: true, sensors: {tick_ms: 40}}
"""
    node = scenario.parse(text.encode(), "x")
    specs = node.board_specs()
    assert specs == scenario.parse(scenario.dump(node).encode(), "again").board_specs()
    assert specs[0].overrides == {"clock_shared": 1.0, "power_clock": 1.0, "power_tick_ms": 50.0, "has_average": 0.0}
    assert len({tuple(s.overrides.items()) for s in specs[2:5]}) == 3
    assert {s.gain for s in specs[2:5]} == {1.1}
    assert specs[5] == specs[6]
    assert specs[6].overrides["tick_ms"] == 40.0
    assert specs[2:] != scenario.override(node, seed=2).board_specs()[2:]
    head = "boards: [{count: 1, sku: A40, "
    for wrong, says in (
        ("sensors: {tik_ms: 3}", "unknown sensor parameter 'tik_ms'; did you mean 'tick_ms'?"),
        ("sensors: {power_clock: mine}", "power_clock: expected one of counter, own, read"),
        ("sensors: {tick_ms: 0}", "tick_ms: expected a whole number from 1 to 1000"),
        ("random: odd", "unknown class of sensors 'odd'"),
    ):
        with pytest.raises(UsageError) as error:
            scenario.parse((head + wrong + "}]").encode(), "x")
        assert says in str(error.value)


def test_every_parameter_is_one_of_the_plant_and_has_a_default_with_a_basis():
    for name in SENSOR_PARAMETERS.keys() - {"counter_sampled"}:
        assert all(b.basis[name] in {"measured", "fitted", "assumed"} for b in boards().values())
