"""The physics of a simulated building: every joule at one place, however time is cut, and ratios as in real ones."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sim.building.model import FacilityModel as Params
from energy_agent.sim.building.truth import STEP_NS, FacilityPhysics
from tests.support import refusal

S = 10**9
HOUR = 3600 * S
CALM = {"other_it_w": 0.0, "outside_season_k": 0.0, "outside_day_k": 0.0}

params = st.builds(
    Params,
    cooling=st.sampled_from(["air", "liquid"]),
    it_scale=st.integers(1, 50),
    other_it_w=st.floats(0, 1e5),
    pdu_weights=st.lists(st.floats(0.1, 10), min_size=1, max_size=4).map(tuple),
    cable_loss_ratio=st.floats(0, 0.05),
    cooling_lag_s=st.floats(1, 3600),
    pv_peak_w=st.floats(0, 1e5),
    reused_heat_ratio=st.floats(0, 1),
)
intervals = st.lists(st.tuples(st.integers(0, 20 * S), st.integers(0, 12_000_000)), min_size=1, max_size=12)


def built(**more):
    return Params(**more).sized(9_000)


def ran(building, hours, node_w, seed=1):
    physics = FacilityPhysics(building, seed)
    physics.advance(round(hours * HOUR), node_w * 1000)
    return physics.truth()


def parts(flows):
    return [*flows.it, *flows.cable_loss, *flows.pdu_loss, flows.ups_loss, flows.cooling, flows.lighting]


@given(params, st.integers(0, 9), intervals)
def test_every_joule_is_at_one_part_and_none_ever_goes_back(building, seed, plan):
    physics = FacilityPhysics(building, seed)
    truths = [physics.truth()]
    for dt_ns, mw in plan:
        physics.advance(dt_ns, mw)
        truths.append(physics.truth())
    for truth in truths:
        for flows in (truth.energy_uj, truth.power_mw):
            assert flows.at("main") == sum(parts(flows))
            assert flows.at("ups") == flows.total - flows.ups_loss - flows.cooling - flows.lighting
            letters = "abcd"[: len(building.pdu_weights)]
            assert flows.at("ups") == sum(flows.at(f"pdu-{x}") for x in letters) + sum(flows.pdu_loss)
            assert flows.it_input == sum(flows.at(f"pdu-{x}") for x in letters) - sum(flows.cable_loss)
            assert min(parts(flows)) >= 0
    for before, after in itertools.pairwise(truths):
        pairs = zip(parts(before.energy_uj), parts(after.energy_uj), strict=True)
        assert all(a <= b for a, b in pairs)
        assert before.energy_uj.renewable <= after.energy_uj.renewable
        assert before.energy_uj.reused_heat <= after.energy_uj.reused_heat
    assert truths[-1].elapsed_ns == sum(dt_ns for dt_ns, _ in plan)
    assert truths[-1].node_uj == sum(dt_ns * mw for dt_ns, mw in plan) // 10**6


@given(params, st.integers(0, 9), intervals, st.lists(st.integers(0, 200 * S), max_size=20))
def test_however_time_is_cut_the_truth_is_the_same(building, seed, plan, cuts):
    whole, cut, begin_ns = FacilityPhysics(building, seed), FacilityPhysics(building, seed), 0
    for dt_ns, mw in plan:
        whole.advance(dt_ns, mw)
        inside = sorted(c for c in cuts if begin_ns < c < begin_ns + dt_ns)
        for a, b in itertools.pairwise([begin_ns, *inside, begin_ns + dt_ns]):
            cut.advance(b - a, mw)
        begin_ns += dt_ns
    assert cut.truth().energy_uj == whole.truth().energy_uj


@given(st.integers(1, 50), st.lists(st.floats(0.1, 10), min_size=1, max_size=8).map(tuple), intervals)
def test_without_other_equipment_the_it_is_so_many_nodes(scale, weights, plan):
    physics = FacilityPhysics(Params(it_scale=scale, other_it_w=0, pdu_weights=weights), 1)
    for dt_ns, mw in plan:
        physics.advance(dt_ns, mw)
    exact_pj = scale * sum(dt_ns * mw for dt_ns, mw in plan)
    assert 0 <= exact_pj - physics.truth().energy_uj.it_input * 10**6 < len(weights) * 10**6


def test_losses_match_the_formula():
    building = built(it_scale=1, pdu_weights=(1,), cable_loss_ratio=0.01, pdu_loss_ratio=0.02, ups_rated_w=10_000,
                     ups_fixed_ratio=0.01, ups_linear_ratio=0.02, ups_square_ratio=0.03, **CALM)  # fmt: skip
    now = ran(building, 0.001, 5_000).power_mw
    assert now.it == (5_000_000,)
    assert now.at("pdu-a") == 5_050_000
    assert now.ups_output == 5_151_000
    assert now.ups_loss == pytest.approx(10_000_000 * (0.01 + 0.02 * 0.5151 + 0.03 * 0.5151**2), abs=1)


@given(st.integers(1, 12), st.integers(0, 23), st.integers(3_000, 9_000))
def test_a_building_has_the_pue_of_its_cooling(month, hour, node_w):
    for cooling, least, most in (("air", 1.25, 1.55), ("liquid", 1.03, 1.06)):
        truth = ran(built(cooling=cooling, starts_at=f"2026-{month:02}-15T{hour:02}:00"), 0.1, node_w).energy_uj
        assert least < truth.total / truth.it_input < most


def test_cooling_follows_the_heat_late_and_costs_more_on_a_hot_day():
    physics = FacilityPhysics(built(cooling_lag_s=300, **CALM), 1)
    physics.advance(100 * STEP_NS, 2_000_000)
    low = physics.truth().power_mw.cooling
    physics.advance(300 * S + 1, 8_000_000)  # into the next step
    at_lag = physics.truth().power_mw.cooling
    physics.advance(3 * HOUR, 8_000_000)
    high = physics.truth().power_mw.cooling
    assert (at_lag - low) / (high - low) == pytest.approx(1 - math.exp(-1), abs=0.005)
    by_day = [ran(built(**CALM, outside_mean_c=mean_c), 1, 5_000).power_mw.cooling for mean_c in (10, 20, 30, 40)]
    assert by_day == sorted(set(by_day))


def test_the_hours_of_lights_and_sun():
    def at(hour, **more):
        return ran(built(starts_at=f"2026-06-21T{hour:02}:00", pv_peak_w=10_000, **more), 0.001, 5_000).power_mw

    assert (at(12).lighting, at(23).lighting) == (150_000, 20_000)
    assert at(0).renewable == 0
    assert 2_000_000 < at(12).renewable <= 10_000_000
    assert at(12, latitude_deg=-60).renewable < at(12, latitude_deg=60).renewable  # it is winter there


def test_reused_heat_is_a_share_of_the_heat_and_spares_cooling():
    none, half = (ran(built(cooling="liquid", reused_heat_ratio=r), 24, 5_000).energy_uj for r in (0, 0.5))
    assert none.reused_heat == 0
    assert half.reused_heat == pytest.approx(0.5 * (half.ups_output + half.ups_loss + half.lighting), rel=0.02)
    assert half.cooling < none.cooling


@pytest.mark.smoke
def test_the_seed_moves_the_other_equipment_and_the_clouds():
    one, same, other = (ran(built(pv_peak_w=5_000), 24, 5_000, seed).energy_uj for seed in (1, 1, 2))
    assert one == same
    assert one.it_input != other.it_input
    assert one.renewable != other.renewable
    mean_w = ran(built(it_scale=1), 24, 0).energy_uj.it_input / 86_400 / 1e6
    assert mean_w == pytest.approx(6_000, rel=0.02)


def test_time_and_power_do_not_go_back():
    for dt_ns, mw in ((-1, 0), (1, -1)):
        assert "cannot advance" in refusal(FacilityPhysics(built(), 1).advance, dt_ns, mw, error=ValueError)
