"""The sweep's order, its conclusions from its intervals, and the rates of one interval, against synthetic truths."""

import json
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.sweep import profile
from dvfs.sweep.estimate import MIN_STRETCHES, points, precise_settings
from dvfs.sweep.next_setting import PAIRED, clocks, following, grid, limits, since_reference, stretches_left, unfinished
from dvfs.sweep.profile import REFERENCE, Key, SettingInterval, SweepPlan, SweepProfile
from dvfs.sweep.reading import DeviceReading, Sample, bindings, pace, power_w
from dvfs.types import Setting
from energy_agent.core.errors import UsageError
from energy_agent.core.interval import ConfidenceInterval

KEYS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(500, 2000)), st.one_of(st.none(), st.floats(100, 700))).filter(
        lambda key: key != REFERENCE
    ),
    min_size=1,
    max_size=7,
    unique=True,
)
PLANS = st.builds(
    SweepPlan, KEYS.map(tuple), st.integers(1, 5), st.just(20.0), st.just(5.0), st.just(1e-9), st.integers(1, 2**31)
)


def noisy(draw: random.Random, key: Key, session: int, at_s: float, sd: float = 0.01) -> SettingInterval:
    return SettingInterval(*key, session, at_s, 20.0, math.exp(draw.gauss(0, sd)), 400 * math.exp(draw.gauss(0, sd)))


def swept(plan: SweepPlan, cuts: list[int], seed: int = 1) -> list[SettingInterval]:
    """Run a sweep that ends after each of `cuts` intervals and is resumed."""
    draw, done = random.Random(seed), []
    for session, length in enumerate([*cuts, 10**6], 1):
        for _ in range(length):
            key = following(plan, done, session)
            if key is None:
                break
            done.append(noisy(draw, key, session, 1e9 + 25.0 * len(done) + 1e5 * session))
    return done


@given(PLANS, st.lists(st.integers(0, 12), max_size=4))
def test_every_setting_gets_its_repeats_between_references(plan: SweepPlan, cuts: list[int]) -> None:
    done = swept(plan, cuts)
    counts = Counter(stretch.key for stretch in done)
    assert {key: counts[key] for key in plan.settings} == dict.fromkeys(plan.settings, plan.repeats)
    for session in {stretch.session for stretch in done}:
        keys = [stretch.key for stretch in done if stretch.session == session]
        assert keys[0] == REFERENCE
        between = "".join("R" if key == REFERENCE else "s" for key in keys).split("R")
        assert max(map(len, between)) <= PAIRED
        assert all(between[1:-1])  # never two references in a row
    if done and done[-1].session > len(cuts):
        assert done[-1].key == REFERENCE  # what was last has one after it too
    assert not unfinished(plan, done)
    assert {stretch.key for stretch in done} <= {REFERENCE, *plan.settings}


@given(PLANS, st.lists(st.integers(0, 12), max_size=3))
def test_turns_visit_each_setting_once_before_any_twice(plan: SweepPlan, cuts: list[int]) -> None:
    visits: Counter[Key] = Counter()
    for stretch in swept(plan, cuts):
        if stretch.key != REFERENCE:
            visits[stretch.key] += 1
            assert visits[stretch.key] - min(visits[key] for key in plan.settings) <= 1


@given(PLANS, st.integers(0, 30))
def test_remaining_stretch_count_is_exact(plan: SweepPlan, cut: int) -> None:
    done = swept(plan, [cut])
    first = [stretch for stretch in done if stretch.session == 1]
    whole = swept(plan, [])
    for i in range(len(whole)):
        assert stretches_left(plan, whole[:i], 1) == len(whole) - i
    assert stretches_left(plan, whole, 2) == 0
    assert stretches_left(plan, first, 2) == len(done) - len(first)


def test_the_order_is_drawn_anew_each_turn_and_is_that_of_the_seed() -> None:
    plan = SweepPlan(tuple((1000 + 15 * i, None) for i in range(6)), 8, 20, 5, 1e-9, 7)
    keys = [stretch.key for stretch in swept(plan, [])]
    turns = [[k for k in keys if k != REFERENCE][i : i + 6] for i in range(0, 48, 6)]
    assert len({tuple(turn) for turn in turns}) > 5
    assert keys == [stretch.key for stretch in swept(plan, [])]
    assert keys != [stretch.key for stretch in swept(replace(plan, seed=8), [])]


def test_a_setting_that_is_known_by_enough_stretches_is_left_alone() -> None:
    plan, draw, done = SweepPlan(((1005, None), (1200, None), (1410, None)), 50, 20, 5, 0.01, 3), random.Random(2), []
    while (key := following(plan, done, 1)) is not None:
        done.append(noisy(draw, key, 1, 25.0 * len(done), 0.02 if key == (1410, None) else 0.001))
    counts = Counter(stretch.key for stretch in done)
    assert MIN_STRETCHES <= counts[1005, None] < counts[1410, None] < 50
    assert precise_settings(done, 0.01) == set(plan.settings)
    keys = [REFERENCE, (1005, None), (1005, None), REFERENCE]
    few = [SettingInterval(*key, 1, 25.0 * i, 20, 1.0, 400.0) for i, key in enumerate(keys)]
    assert (precise_settings(few, 0.01), points(few[:2])) == (frozenset(), ())


TRUTH: dict[Key, tuple[float, float]] = {
    REFERENCE: (1.0, 400.0), (1005, None): (1.30, 230.0), (1200, None): (1.12, 290.0), (None, 300.0): (1.05, 300.0),
    (1200, 300.0): (1.13, 280.0),
}  # fmt: skip


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("repeats", "precision", "drift_ratio_h", "walk"), [(5, 1e-9, 0, 0), (6, 0.012, 0.2, 0), (8, 0.01, 0.2, 0.002)]
)
def test_intervals_hold_the_truth_whatever_drifts(repeats: int, precision: float, drift_ratio_h: float, walk: float) -> None:
    """By coverage and by width; stopping early must not spoil them."""
    hits, errors, halves = Counter[str](), [], []
    for seed in range(120):
        draw, done, wandered = random.Random(seed), [], 0.0
        plan = SweepPlan(tuple(key for key in TRUTH if key != REFERENCE), repeats, 20, 5, precision, seed + 1)
        while (key := following(plan, done, 1)) is not None:
            wandered += draw.gauss(0, walk)
            drift, (time_s, power) = drift_ratio_h * 25 * len(done) / 3600 + wandered, TRUTH[key]
            time_s, power = time_s * math.exp(drift + draw.gauss(0, 0.01)), power * math.exp(-drift + draw.gauss(0, 0.005))
            done.append(SettingInterval(*key, 1, 25.0 * len(done), 20, time_s, power))
        for point in points(done):
            if point.slowdown is None or point.saving is None:
                continue
            time_s, power = TRUTH[point.key]
            slowdown, saving = time_s - 1, 1 - time_s * power / 400
            hits["n"] += 1
            hits["slowdown"] += point.slowdown.low <= slowdown <= point.slowdown.high
            hits["saving"] += point.saving.low <= saving <= point.saving.high
            errors.append(abs(point.slowdown.value - slowdown))
            halves.append((point.slowdown.high - point.slowdown.low) / 2)
    assert 0.92 <= hits["slowdown"] / hits["n"] <= 0.99
    assert 0.92 <= hits["saving"] / hits["n"] <= 0.99
    assert sum(halves) / len(halves) <= 2 * sorted(errors)[round(0.95 * len(errors))]


def test_a_stretch_without_a_reference_after_it_goes_by_the_one_before_in_its_session() -> None:
    def at(key: Key, session: int, utc_s: float, time_s: float) -> SettingInterval:
        return SettingInterval(*key, session, utc_s, 20, time_s, 100.0)

    one = (1005, None)
    ended = [at(REFERENCE, 1, 0, 1.0), at(one, 1, 25, 1.1)]  # the machine was faster when it went on
    later = [at(REFERENCE, 2, 9000, 0.5), at(one, 2, 9025, 0.55), at(REFERENCE, 2, 9050, 0.5)]
    (_, point) = points([*ended, *later])
    assert point.slowdown is not None
    assert point.slowdown.value == pytest.approx(0.1)
    assert point.slowdown.high - point.slowdown.low == pytest.approx(0, abs=1e-9)
    assert point.time_high_s / point.time_low_s > 2  # the time itself did change


def test_between_two_references_the_drift_is_a_line() -> None:
    rows = [(REFERENCE, 0, 1.0), ((1005, None), 25, 1.1 * math.exp(0.1)), ((1200, None), 50, 1.2 * math.exp(0.2)),
            (REFERENCE, 75, math.exp(0.3)), ((1005, None), 100, 1.1 * math.exp(0.4)), ((1200, None), 125, 1.2 * math.exp(0.5)),
            (REFERENCE, 150, math.exp(0.6))]  # fmt: skip
    by_key = {p.key: p for p in points([SettingInterval(*key, 1, at, 20, time_s, 100.0) for key, at, time_s in rows])}
    for key, slowdown in (((1005, None), 0.1), ((1200, None), 0.2)):
        interval = by_key[key].slowdown
        assert interval is not None
        assert (interval.low, interval.value, interval.high) == pytest.approx((slowdown, slowdown, slowdown))


# One interval.


@given(st.floats(0.05, 12), st.floats(0.05, 2), st.floats(0, 1), st.floats(15, 90))
def test_steps_counted_by_a_page_are_timed_to_a_reading_at_each_end(
    step_s: float, every_s: float, phase: float, span_s: float
) -> None:
    times = [phase + every_s * i for i in range(int((span_s + 10) / every_s))]
    samples = [Sample(round(t * 1e9), math.floor(t / step_s)) for t in times]
    result = pace(samples, 5_000_000_000)
    if result is None:
        assert span_s < 2 * step_s + 2 * every_s
        return
    assert abs(result.seconds - result.count * step_s) <= min(step_s, every_s) + 1e-6
    assert result.changes <= result.count + 1


@given(st.lists(st.floats(0.1, 3), min_size=4, max_size=60), st.floats(0.2, 3))
def test_steps_with_reported_ends_are_timed_exactly(lengths: list[float], every_s: float) -> None:
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    indices = [max((i for i, end in enumerate(ends) if end <= t), default=-1) for t in (every_s * k for k in range(400))]
    samples = [Sample(round(ends[i] * 1e9), float(i + 1)) for i in indices if i >= 0]
    samples = [s for n, s in enumerate(samples) if n == 0 or s != samples[n - 1]]
    result = pace(samples, 0)
    if result is not None:
        first, last = samples[1], samples[-1]
        assert result.count == last.count - first.count
        assert result.seconds == pytest.approx((last.t_ns - first.t_ns) / 1e9)


def test_power_is_between_the_readings_within_and_counters_that_fall_give_none() -> None:
    counter = [Sample(round(t * 1e9), 300.0 * t if t < 5 else 1500 + 200.0 * (t - 5)) for t in range(12)]
    assert power_w(counter, 5_000_000_000) == pytest.approx(200)
    assert power_w(counter, 10_500_000_000) is None
    with pytest.raises(ValueError, match="fell"):
        power_w([Sample(0, 5), Sample(1, 4)], 0)
    with pytest.raises(ValueError, match="restarted"):
        pace([Sample(0, 5), Sample(1, 6), Sample(2, 0)], 0)
    assert pace([Sample(0, 5), Sample(10, 5)], 0) is pace([], 0) is None


def reading(t: int, clock: int, limit_mw: int = 700_000, **event_s: float) -> DeviceReading:
    return DeviceReading(t * 1_000_000_000, clock, limit_mw, 100, event_s)


def test_bindings_name_what_limited_the_clock() -> None:
    capped = [reading(t, 1300, 400_000, sw_power_cap=float(t), idle=float(t)) for t in range(10)]
    hot = [reading(t, 900, sw_thermal_slowdown=max(0.0, t - 4.0)) for t in range(10)]
    for samples, setting, bound in (
        (capped, Setting(None, 400_000), ("sw_power_cap",)),
        (capped, Setting(1500, 400_000), ("sw_power_cap",)),
        (capped, Setting(1200, None), ("clock_above_lock", "sw_power_cap")),
        (capped, Setting(None, 300_000), ("limit_differs", "sw_power_cap")),
        (hot, Setting(1005), ("sw_thermal_slowdown",)),
        ([reading(t, 1005, sw_power_cap=3.0) for t in range(10)], Setting(1005), ()),
        (hot[:1], Setting(1005), ()),
    ):
        assert bindings(samples, setting, 0) == bound


# Settings and the file.


@given(st.integers(200, 1500), st.integers(1, 2000), st.integers(1, 20))
def test_settings_lie_from_the_knee_to_below_the_highest(knee: int, more: int, n: int) -> None:
    clocks_mhz = clocks(knee, knee + more, n)
    assert clocks_mhz[0] == knee
    assert list(clocks_mhz) == sorted(set(clocks_mhz))
    assert clocks_mhz[-1] < knee + more
    assert all((clock - knee) % 15 == 0 for clock in clocks_mhz)


def test_limits_and_the_grid() -> None:
    assert limits(199.5, 700.0, 5) == (200.0, 300.0, 400.0, 500.0, 600.0)
    assert grid((1005, 1200), (300.0,)) == ((None, 300.0), (1005, None), (1005, 300.0), (1200, None), (1200, 300.0))
    with pytest.raises(ValueError, match="no 5 settings between"):
        limits(400.0, 400.0, 5)


@settings(max_examples=30)
@given(PLANS, st.lists(st.integers(0, 9), max_size=2))
def test_a_profile_is_read_as_it_was_written(plan: SweepPlan, cuts: list[int]) -> None:
    done = tuple(replace(stretch, temperature_c=55.5, binding=("sw_power_cap",)) for stretch in swept(plan, cuts))
    sweep_profile = SweepProfile("job", "H100", "570", True, "steps", 1980, 700.0, 2, points(done), 0.05, 3, plan, done)
    assert profile.parse(profile.dump(sweep_profile), "p.json") == sweep_profile
    assert since_reference(sweep_profile.stretches, 99) is None


@pytest.mark.smoke
def test_what_is_wrong_in_a_profile_is_named_by_file_and_key() -> None:
    done = tuple(swept(SweepPlan(((1005, None),), 2, 20, 5, 0.01, 1), []))
    good = json.loads(profile.dump(SweepProfile("job", "H100", "570", True, "steps", 1980, 700.0, points=points(done))))
    negative = {"value": -0.01, "low": -0.02, "high": 0.0}
    good["points"][1]["slowdown"] = negative
    sweep_profile = profile.parse(json.dumps(good), "p.json")
    assert (sweep_profile.plan, sweep_profile.points[1].slowdown) == (None, ConfidenceInterval(-0.01, -0.02, 0.0))
    for change, key in (
        ({"schema": 2}, "schema"),
        ({"simulated": "yes"}, "simulated"),
        ({"sm_clock_max_mhz": True}, "sm_clock_max_mhz"),
        ({"power_limit_found_w": math.inf}, "power_limit_found_w"),
        ({"gain_uncertainty_ratio": -1}, "gain_uncertainty_ratio"),
        ({"plan": []}, "plan"),
        ({"plan": {"settings": [[1]]}}, "plan.settings.0"),
        ({"stretches": {}}, "stretches"),
        ({"stretches": [{}] * (profile.MAX_STRETCHES + 1)}, "stretches"),
        ({"stretches": [{"sm_clock_mhz": None, "power_limit_w": None, "session": 1}]}, "stretches.0.utc_s"),
        ({"points": [good["points"][1] | {"time_s": 0}]}, "points.0.time_s"),
        ({"points": [good["points"][1] | {"slowdown": {"value": 0, "high": 0}}]}, "points.0.slowdown.low"),
    ):
        with pytest.raises(UsageError, match=f"^p.json: {key}[.:]"):
            profile.parse(json.dumps(good | change), "p.json")
