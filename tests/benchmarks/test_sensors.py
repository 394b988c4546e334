"""The judge of windows: the laws of its sensors, and its verdicts on statements that are known to be good or bad."""

import json
import random
from dataclasses import replace
from itertools import pairwise
from math import isclose

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.sensors.judge import Outcome, Window, at_most, delay_effect_j, measure, plan, verdict
from benchmarks.sensors.loads import COUPLINGS, HIGHEST_W, LOADS, LOWEST_W, Load, Pattern, draw_loads
from benchmarks.sensors.plant import SENSORS, EnergyCounter, Gpu, PowerSensor, Sensors, TickClock
from benchmarks.sensors.sampler import Statement

SQUARE = Load(((1.0, 0.0, Pattern([(0.1, 100.0, 100.0), (0.3, 500.0, 500.0)])),))
UNEVEN = draw_loads(random.Random(1), "telegraph", "1 GPU")[0]
RNG = np.random.default_rng(1)


def square_j(at_s: float) -> float:
    turns, within_s = divmod(at_s, 0.4)
    return turns * 160 + 100 * min(within_s, 0.1) + 500 * max(0.0, within_s - 0.1)


def counted_j(counter: EnergyCounter, load: Load, until_s: float = 60.0) -> tuple[list[float], list[float]]:
    """Ticks, and what the counter shows at each, from its first."""
    ticks = counter.clock.ticks(np.random.default_rng(2), until_s)
    values = replace(counter, unit_j=1e-9).values(np.random.default_rng(3), load, ticks)
    return ticks.tolist(), (values - values[0]).tolist()


def test_energy_of_a_square_wave_is_its_closed_form():
    for at_s in (0.0, 0.05, 0.1, 0.25, 0.4, 7.33, 3600.123, -1.0):
        assert isclose(SQUARE.between_j(0.0, at_s), square_j(at_s), abs_tol=1e-6)


def test_energy_of_a_ramp_is_its_closed_form():
    ramp = Load(((0.5, 0.2, Pattern([(2.0, 100.0, 300.0), (1.0, 300.0, 100.0)])),))
    assert ramp.between_j(0.0, 1.0) == pytest.approx(0.5 * ((120 + 220) / 2))
    assert ramp.edge_after(0.0) is None


def test_edges_are_where_power_jumps():
    shifted = Load(((1.0, 0.05, SQUARE.parts[0][2]),))
    assert [round(shifted.edge_after(at_s) or 0.0, 9) for at_s in (0.0, 0.06, 0.34, 0.36)] == [0.05, 0.35, 0.35, 0.45]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_power_of_each_load_is_within_its_range(load, coupling):
    lowest_w = 20.0 if load == "real GPUs" else 0.95 * LOWEST_W
    loads = draw_loads(random.Random(4), load, coupling)
    assert len(loads) == (1 if coupling == "1 GPU" else 8)
    for each in loads:
        watts = np.diff(each.energy_j(np.arange(0.0, 70.0, 0.01))) / 0.01
        assert lowest_w <= watts.min() <= watts.max() <= HIGHEST_W + 1e-6


def test_gpus_in_step_have_one_load_and_others_their_own():
    at_s = np.arange(0.0, 60.0, 0.1)

    def correlation(coupling: str) -> float:
        first, second, *_ = (np.diff(load.energy_j(at_s)) for load in draw_loads(random.Random(5), "telegraph", coupling))
        return float(np.corrcoef(first, second)[0, 1])

    assert correlation("8 in step") > 0.99 > correlation("8 partly") > 0.1 > correlation("8 apart")


def test_integrating_counter_shows_the_true_energy_at_each_tick():
    ticks, joules = counted_j(EnergyCounter(TickClock(0.05, 0.1)), UNEVEN)
    assert joules == pytest.approx([UNEVEN.between_j(ticks[0], tick) for tick in ticks], abs=1e-6)


def test_late_counter_shows_the_true_counter_shifted():
    ticks, joules = counted_j(EnergyCounter(TickClock(0.05), delay_s=0.12), UNEVEN)
    assert joules == pytest.approx([UNEVEN.between_j(ticks[0] - 0.12, tick - 0.12) for tick in ticks], abs=1e-6)


def test_randomly_late_counter_is_between_the_true_and_the_latest_and_never_falls():
    ticks, joules = counted_j(EnergyCounter(TickClock(0.1), random_delay_s=0.05), UNEVEN)
    first_j = UNEVEN.between_j(ticks[0] - 0.05, ticks[0])
    for tick, shown_j in zip(ticks[1:], joules[1:], strict=True):
        true_j = UNEVEN.between_j(ticks[0], tick)
        assert UNEVEN.between_j(tick, tick - 0.05) - 1e-6 <= shown_j - true_j <= first_j + 1e-6
    assert joules == sorted(joules)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_sampling_counter_is_exact_at_constant_power(place):
    constant = Load(((1.0, 0.0, Pattern([(1.0, 300.0, 300.0)])),))
    ticks, joules = counted_j(EnergyCounter(TickClock(0.1, 0.1), share=0.25, place=place), constant)
    assert joules == pytest.approx([300 * (tick - ticks[0]) for tick in ticks])


@pytest.mark.parametrize(("place", "measured_w"), [(0.0, 100.0), (1.0, 500.0)])
def test_sampling_counter_multiplies_its_part_of_a_tick(place, measured_w):
    ticks = np.arange(0.0, 5.0, 0.1)
    load = Load(((1.0, 0.0, Pattern([(0.05, 100.0, 100.0), (0.05, 500.0, 500.0)])),))
    joules = EnergyCounter(TickClock(0.1), share=0.25, place=place).values(RNG, load, ticks)
    assert joules[-1] - joules[0] == pytest.approx(measured_w * ticks[-1], abs=0.01)
    assert load.between_j(0.0, ticks[-1]) == pytest.approx(300 * ticks[-1])


def test_sampling_counter_is_biased_by_work_of_its_period():
    load = Load(((1.0, 0.0, Pattern([(0.05, 100.0, 100.0), (0.05, 500.0, 500.0)])),))
    sampling, integrating = EnergyCounter(TickClock(0.1), share=0.25), EnergyCounter(TickClock(0.1))
    for counter, least, most in ((sampling, 0.3, 0.7), (integrating, 0.0, 0.02)):
        biases = []
        for seed in range(20):
            ticks = counter.clock.ticks(np.random.default_rng(seed), 5.0)
            joules = counter.values(RNG, load, ticks)
            biases.append(abs((joules[-1] - joules[0]) / load.between_j(ticks[0], ticks[-1]) - 1))
        assert least <= np.mean(biases) <= most


def test_counter_of_whole_joules_loses_less_than_one():
    ticks = TickClock(0.1).ticks(RNG, 20.0)
    joules = EnergyCounter(TickClock(0.1), unit_j=1.0).values(RNG, SQUARE, ticks)
    assert (joules == np.round(joules)).all()
    true_j = np.array([SQUARE.between_j(ticks[0], tick) for tick in ticks])
    assert np.abs(joules - joules[0] - true_j).max() < 1


def test_power_is_the_mean_of_its_window_before_its_delay():
    ticks = np.array([1.0, 1.03])
    watts = PowerSensor(TickClock(0.03), window_s=0.05, delay_s=0.02, gain=1.01).values(RNG, SQUARE, ticks)
    assert watts == pytest.approx([1.01 * (square_j(t - 0.02) - square_j(t - 0.07)) / 0.05 for t in ticks], abs=1e-3)


@pytest.mark.parametrize("drifts", [False, True])
def test_ticks_keep_their_period_and_jitter(drifts):
    gaps = np.diff(TickClock(0.1, 0.1, drifts).ticks(RNG, 100.0))
    assert gaps.mean() == pytest.approx(0.1, rel=0.01)
    assert 0.0899 < gaps.min() < gaps.max() < 0.1101


@pytest.mark.parametrize("name", SENSORS)
def test_drawn_sensors_can_be_read(name):
    sensors = SENSORS[name].draw(random.Random(6))
    reading = Gpu(7, sensors, UNEVEN, 2.0).read(1.0)
    assert (reading.energy_j is None) == (sensors.counter is None)
    assert (reading.instant_w is None) == (sensors.instant is None)
    assert (reading.average_w is None) == (sensors.average is None)


def test_seed_alone_determines_what_a_gpu_shows():
    sensors = Sensors(EnergyCounter(TickClock(0.1, 0.1)), None, None, 0.001)
    first, second, other = (Gpu(seed, sensors, UNEVEN, 2.0).read(1.0) for seed in (1, 1, 2))
    assert first == second != other


class Double:
    """A reader that knows the truth: its statements are as wide as `half_j`, off by up to `error_j`, or refusals."""

    def __init__(self, load: Load, error_j: float, half_j: float, reason: str = "") -> None:
        self.statements: dict[int, Statement] = {}
        self._load, self._error_j, self._half_j, self._reason = load, error_j, half_j, reason
        self._opened: dict[int, float] = {}
        self._rng = random.Random(8)

    def open(self, number: int, start_s: float) -> None:
        self._opened[number] = start_s

    def close(self, number: int, end_s: float) -> None:
        joules = self._load.between_j(self._opened[number], end_s) + self._rng.uniform(-self._error_j, self._error_j)
        self.statements[number] = Statement(joules, joules - self._half_j, joules + self._half_j, self._reason)

    def run(self, end_s: float) -> None:
        pass


def judged(double: Double, short: bool = False, delay_j: float = 0.0) -> dict[str, object]:
    windows = plan(random.Random(9), UNEVEN, ["300 ms", "1 s at edges", "100 ms in a row"], 10, 0.1)
    statements = measure(double, windows, 1.0)
    return verdict(
        [
            Outcome(w.name, UNEVEN.between_j(w.start_s, w.end_s), s, delay_j, short)
            for w, s in zip(windows, statements, strict=True)
        ]
    )


def test_perfect_statements_pass():
    row = judged(Double(UNEVEN, 1.0, 1.0))
    assert row["ok"]
    assert row["held_percent"] == 100
    assert row["half_p95"] < 2


def test_too_narrow_intervals_are_not_held():
    row = judged(Double(UNEVEN, 1.0, 0.5))
    assert row["missed"] == "held"
    assert row["held_percent"] < 80


def test_too_wide_intervals_fail_unless_a_delay_explains_them():
    assert judged(Double(UNEVEN, 1.0, 5.0))["missed"] == "width"
    assert judged(Double(UNEVEN, 1.0, 5.0), delay_j=5.0)["ok"]


def test_refuser_fails_unless_windows_are_short():
    refuser = Double(UNEVEN, 0.0, 0.0, "unknown sensor")
    assert judged(refuser)["missed"] == "held, refused"
    row = judged(refuser, short=True)
    assert row["ok"]
    assert row["held_percent"] is None
    assert row["refused_percent"] == 100


def test_reader_that_never_answers_refuses():
    double = Double(UNEVEN, 0.0, 1.0)
    double.close = lambda number, end_s: None  # type: ignore[method-assign]
    assert judged(double)["missed"] == "held, refused"


def test_probability_of_few_successes():
    assert at_most(0, 1, 0.93) == pytest.approx(0.07)
    assert at_most(1, 2, 0.93) == pytest.approx(1 - 0.93**2)
    assert at_most(93, 100, 0.93) == 1
    assert at_most(9000, 10_000, 0.93) < 1e-6


def test_delay_matters_where_power_differs_at_the_ends():
    assert delay_effect_j(SQUARE, Window("", 1.0, 1.0 + 0.4)) == pytest.approx(0.0, abs=1e-9)
    step = Load(((1.0, 0.0, Pattern([(10.0, 100.0, 100.0), (10.0, 500.0, 500.0)])),))
    assert delay_effect_j(step, Window("", 5.0, 15.0)) == pytest.approx(0.2 * 400)


def test_planned_windows_match_their_class():
    windows = plan(random.Random(10), SQUARE, ["300 ms at edges", "1 s in a row", "10 s", "first 1 s"], 4, 0.1)
    at_edges = [w for w in windows if "edges" in w.name]
    in_row = [w for w in windows if "row" in w.name]
    lengths_s = [round(w.end_s - w.start_s, 6) for w in at_edges]
    assert all(round(w.start_s % 0.4, 6) in (0.0, 0.1, 0.4) for w in at_edges)
    assert all(
        length_s == 0.3 or round(w.end_s % 0.4, 6) in (0.0, 0.1, 0.4) for w, length_s in zip(at_edges, lengths_s, strict=True)
    )
    assert all(0.225 <= length_s <= 0.375 for length_s in lengths_s)
    assert [first.end_s == second.start_s for first, second in pairwise(in_row)] == [True, True, False] * 3 + [True, True]
    assert all(round(w.end_s - w.start_s, 6) == int(w.name.split()[-2]) for w in windows if w.name in ("10 s", "first 1 s"))


def test_command_prints_cells_groups_and_a_summary(capsys):
    words = ["--quick", "--seed", "1", "--sensor", "counter 100 ms", "--load", "constant", "--window", "1 s", "--json"]
    main(["sensors", *words])
    first = json.loads(capsys.readouterr().out)
    assert [row.get("n") for row in first] == [6, 6, 6, 3, 3, None, None, None]
    assert [row["cells"] for row in first[-3:]] == [1, 1, 1]
    main(["sensors", *words])
    assert json.loads(capsys.readouterr().out) == first
