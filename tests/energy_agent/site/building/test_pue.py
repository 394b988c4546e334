"""PUE and related metrics: calculated by hand, bounded, and without a value if not available."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Method
from energy_agent.core.meters.facility import MeterEnergy, MeterFacts, Position, Role
from energy_agent.site.building.pue import YEAR_NS, best, enough, losses, parts, per_it_kwh, pue, shares, stated_pue
from energy_agent.site.building.ratio import coverage, energy, ratio, spread

H = 3600 * 10**9
KWH = 3_600_000_000_000
UPS, PDU = Position.UPS_OUTPUT, Position.PDU_OUTPUT


def meter(
    name, role, kwh, *, position=None, parent="", zone="", percent=1, group=None, window=24 * H, measured=None, max_kw=1000
):
    facts = MeterFacts(name, role, position, parent, zone, percent * 10_000, group or name, max_kw * 10**6)
    return MeterEnergy(facts, window, window if measured is None else measured, {Method.COUNTER: kwh * KWH}, 0)


def site(*meters):
    return {m.facts.id: m for m in meters}


PLAIN = site(
    meter("main", Role.TOTAL, 1300),
    meter("ups", Role.IT, 1050, position=UPS, parent="main"),
    meter("crac", Role.COOLING, 50, parent="ups"),
    meter("pdu-1", Role.IT, 400, position=PDU, parent="ups"),
    meter("pdu-2", Role.IT, 560, position=PDU, parent="ups"),
    meter("chiller", Role.COOLING, 150, parent="main"),
    meter("light", Role.LIGHTING, 20, parent="main"),
)


def test_a_site_worked_by_hand():
    """IT at the UPS: 1050 - 50 (a crac on the UPS) = 1000, so 1300 / 1000. At the PDUs: 960, so 1300 / 960."""
    first, second = pue(PLAIN, UPS), pue(PLAIN, PDU)
    assert (first.kind, first.category, first.amount.value, first.coverage) == ("iPUE", 1, Fraction(13, 10), 1)
    assert (second.category, second.amount.value) == (2, Fraction(1300, 960))
    parts_uj = {p.name: p.amount.value for p in parts(PLAIN, UPS)}
    assert parts_uj == {
        "IT at ups_output": 1000 * KWH,
        "cooling": 200 * KWH,
        "lighting": 20 * KWH,
        "not explained by a meter": 80 * KWH,
    }
    assert sum(parts_uj.values()) == 1300 * KWH
    (loss,) = losses(PLAIN)
    assert (loss.name, loss.amount.value) == ("between ups_output and pdu_output", 40 * KWH)


def test_the_bounds_of_a_ratio_by_hand():
    """Independent meters of 1 %: 1.96 / sqrt(3) x 0.01 x sqrt(2) = 1.6 % of 1.3, in first order, each 0.01 / 0.99 off."""
    meters = site(meter("main", Role.TOTAL, 1300), meter("ups", Role.IT, 1000, position=UPS))
    amount = pue(meters, UPS).amount
    wanted = 1.3 * 0.01 / 0.99 * 1.96 * (2 / 3) ** 0.5
    assert abs(float(amount.high - amount.value) - wanted) < 1e-9
    assert abs(float(amount.value - amount.low) - wanted) < 1e-9


def test_meters_of_one_calibration_err_together():
    apart = site(*(meter(f"p{n}", Role.IT, 100, position=PDU) for n in range(9)))
    alike = site(*(meter(f"p{n}", Role.IT, 100, position=PDU, group="snmp") for n in range(9)))
    terms = dict.fromkeys(apart, 1)
    wide, narrow = (float(energy(m, terms).high - energy(m, terms).value) for m in (alike, apart))
    assert abs(wide - 900 * KWH / 99) < 1
    assert abs(narrow - 900 * KWH / 99 * 1.96 / 3**0.5 / 3) < 1e3


def test_a_meter_in_both_sums_errs_in_both_at_once():
    """Total = IT + cooling by the same IT meter: its error hardly moves the ratio."""
    meters = site(meter("it", Role.IT, 1000, position=PDU, percent=5), meter("cool", Role.COOLING, 40, percent=5))
    amount = ratio(meters, {"it": 1, "cool": 1}, {"it": 1})
    assert amount.value == Fraction(104, 100)
    assert amount.high < Fraction(1045, 1000)  # 5 % of 1.04 would be 1.092


def test_unread_energy_is_imputed_named_and_bounded():
    """Three hours of 24 without the total's meter: 7/8 of 2400 kWh were seen; at most 3 h x 200 kW = 600 kWh are missing."""
    meters = site(
        meter("main", Role.TOTAL, 2100, percent=0, measured=21 * H, max_kw=200),
        meter("ups", Role.IT, 2000, position=UPS, percent=0),
    )
    result = pue(meters, UPS)
    assert result.amount.value == Fraction(2400, 2000)
    assert (result.amount.low, result.amount.high) == (Fraction(2100, 2000), Fraction(2700, 2000))
    assert (result.coverage, result.imputed_uj) == (Fraction(7, 8), 300 * KWH)


def test_without_a_most_nothing_bounds_it_above():
    facts = MeterFacts("main", Role.TOTAL, accuracy_ppm=0)
    main = MeterEnergy(facts, 24 * H, 12 * H, {Method.COUNTER: KWH}, 0)
    assert pue(site(main, meter("ups", Role.IT, 1, position=UPS)), UPS).amount.high is None


def test_where_there_is_no_pue_there_is_a_reason():
    main, ups = meter("main", Role.TOTAL, 100), meter("ups", Role.IT, 90, position=UPS)
    assert pue(site(ups), UPS).amount.reason == "no meter of role total"
    assert pue(site(main), UPS).amount.reason == "no meter of role it at ups_output"
    assert "nothing was metered" in pue(site(meter("main", Role.TOTAL, 0, measured=0), ups), UPS).amount.reason
    contradiction = pue(site(meter("main", Role.TOTAL, 50), ups), UPS).amount
    assert contradiction.value is None
    assert "contradict" in contradiction.reason
    assert pue(site(meter("main", Role.TOTAL, 100), meter("ups", Role.IT, 0, position=UPS)), UPS).amount.value is None


def test_just_below_one_is_one_within_the_error():
    result = pue(site(meter("main", Role.TOTAL, 999), meter("ups", Role.IT, 1000, position=UPS)), UPS)
    assert (result.amount.value, result.amount.low) == (1, 1)
    assert result.amount.high > 1
    assert result.raised_from == Fraction(999, 1000)  # a changed measurement is marked
    above = pue(site(meter("main", Role.TOTAL, 1001), meter("ups", Role.IT, 1000, position=UPS)), UPS)
    assert (above.amount.value, above.raised_from) == (Fraction(1001, 1000), None)


def test_a_loop_has_a_partial_pue():
    """Rack loop: 500 kWh of IT, 10 kWh of its CDU, 8 kWh of pumps behind the PDU's own meter (so IT is 492)."""
    meters = site(
        meter("main", Role.TOTAL, 2000),
        meter("loop", Role.IT, 500, position=PDU, zone="loop-1"),
        meter("pump", Role.COOLING, 8, parent="loop", zone="loop-1"),
        meter("cdu", Role.COOLING, 10, zone="loop-1"),
        meter("hall", Role.IT, 900, position=PDU, zone="hall"),
        meter("crac", Role.COOLING, 300, zone="hall"),
    )
    result = pue(meters, PDU, "loop-1")
    assert (result.kind, result.amount.value) == ("pPUE", Fraction(510, 492))
    assert pue(meters, PDU, "hall").amount.value == Fraction(1200, 900)
    assert "in nowhere" in pue(meters, PDU, "nowhere").amount.reason


def test_made_on_the_site_is_part_of_its_total_unless_a_feed_meters_it():
    beside = site(meter("main", Role.TOTAL, 900), meter("pv", Role.RENEWABLE, 100), meter("ups", Role.IT, 800, position=UPS))
    assert pue(beside, UPS).amount.value == Fraction(1000, 800)
    assert shares(beside)["REF"].value == Fraction(1, 10)
    through = site(
        meter("main", Role.TOTAL, 900),
        meter("pv", Role.RENEWABLE, 100, parent="main"),
        meter("ups", Role.IT, 800, position=UPS),
    )
    assert pue(through, UPS).amount.value == Fraction(900, 800)
    assert shares(through)["ERF"].reason == "no meter of role reused_heat"


def test_a_year_makes_a_pue_of_an_ipue_and_a_stated_one_is_an_estimate():
    year = site(meter("main", Role.TOTAL, 13, window=YEAR_NS), meter("ups", Role.IT, 10, position=UPS, window=YEAR_NS))
    assert pue(year, UPS).kind == "PUE"
    stated = stated_pue(1000, Fraction(14, 10), Fraction(1, 10))
    assert (stated.stated, stated.category, stated.total_uj, stated.amount.low) == (True, 0, 1400, Fraction(126, 100))


def test_water_and_carbon_per_kwh_of_it():
    result = per_it_kwh(Fraction(1800), Fraction(1, 100), PLAIN, UPS)
    assert result.value == Fraction(18, 10)
    assert result.low < Fraction(18, 10) * Fraction(99, 100)
    assert per_it_kwh(Fraction(1), None, PLAIN, UPS).low is None
    assert per_it_kwh(Fraction(1), None, site(meter("main", Role.TOTAL, 1)), UPS).value is None


@given(st.lists(st.fractions(0, 1000, max_denominator=1000), max_size=8))
def test_a_spread_lies_between_the_largest_share_and_the_plain_sum(bounds):
    result = spread(bounds)
    assert result <= sum(bounds)
    assert result >= max(bounds, default=0) or len(bounds) == 1


@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 20), st.integers(0, 20),
    st.fractions(-1, 1, max_denominator=100), st.fractions(-1, 1, max_denominator=100),
)  # fmt: skip
def test_no_gain_within_the_class_of_one_calibration_escapes_the_bounds(total, it, a, b, g, h):
    """Truth by construction: each register shows true x (1 + gain), |gain| <= its class. Second order is allowed for."""
    meters = site(meter("t", Role.TOTAL, 0, percent=a, group="x"), meter("i", Role.IT, 0, position=PDU, percent=b, group="x"))
    readings_uj = {"t": round(total * KWH * (1 + g * a / 100)), "i": round(it * KWH * (1 + h * b / 100))}
    meters = {
        m: MeterEnergy(e.facts, e.window_ns, e.measured_ns, {Method.COUNTER: readings_uj[m]}, 1) for m, e in meters.items()
    }
    result, truth = ratio(meters, {"t": 1}, {"i": 1}), Fraction(total, it)
    second_order = truth * Fraction(a * b + b * b, 10_000) * 2
    assert result.low - second_order <= truth <= result.high + second_order


def test_coverage_is_that_of_the_least_covered():
    assert coverage([meter("a", Role.TOTAL, 1), meter("b", Role.TOTAL, 1, measured=6 * H)]) == Fraction(1, 4)
    assert coverage([]) == 0


def test_a_position_that_sees_a_part_of_it_alone_has_no_pue():
    """One pilot rack with meters of its own is no category 3, and PDUs below one of two UPSes no category 2."""
    pilot = site(
        meter("main", Role.TOTAL, 1500), meter("ups", Role.IT, 1000, position=UPS, parent="main"),
        meter("rack", Role.IT, 10, position=Position.IT_INPUT, parent="ups"),
    )  # fmt: skip
    assert pue(pilot, UPS).amount.value == Fraction(3, 2)
    assert "measure less than 80% of the IT energy at ups_output" in pue(pilot, Position.IT_INPUT).amount.reason
    half = site(
        meter("main", Role.TOTAL, 1500), meter("a", Role.IT, 500, position=UPS), meter("b", Role.IT, 500, position=UPS),
        meter("pdu", Role.IT, 480, position=PDU, parent="a"),
    )  # fmt: skip
    assert pue(half, PDU).amount.reason.startswith("b at ups_output has no meter at pdu_output below it")
    assert best([pue(half, UPS), pue(half, PDU)]).category == 1


def test_overhead_below_overhead_is_counted_once():
    """300 kWh of machine room, 50 of them its lights: cooling 250, lighting 50; and a loop's pumps with their own light."""
    meters = site(
        meter("main", Role.TOTAL, 1500), meter("ups", Role.IT, 1000, position=UPS, zone="r1"),
        meter("mech", Role.COOLING, 300, zone="r1"), meter("lights", Role.LIGHTING, 50, parent="mech", zone="r1"),
    )  # fmt: skip
    parts_uj = {p.name: p.amount.value for p in parts(meters, UPS)}
    assert parts_uj == {
        "IT at ups_output": 1000 * KWH, "cooling": 250 * KWH, "lighting": 50 * KWH, "not explained by a meter": 200 * KWH,
    }  # fmt: skip
    assert pue(meters, UPS, "r1").amount.value == Fraction(13, 10)
    inside = site(
        meter("main", Role.TOTAL, 1500), meter("ups", Role.IT, 1000, position=UPS, zone="r1"),
        meter("pumps", Role.COOLING, 100, parent="ups", zone="r1"),
        meter("plights", Role.LIGHTING, 10, parent="pumps", zone="r1"),
    )  # fmt: skip
    assert pue(inside, UPS, "r1").amount.value == Fraction(1000, 900)
    assert sum(p.amount.value for p in parts(inside, UPS)) == 1500 * KWH


def test_unread_time_moves_the_ratio_and_its_error():
    """IT was read half of the time, and drew nothing in the other: 1500 / 600 = 2.5, with IT's register 1 % low."""
    main = meter("main", Role.TOTAL, 1500, percent=1)
    ups = meter("ups", Role.IT, 0, position=UPS, percent=1, measured=12 * H, max_kw=400)
    low = MeterEnergy(ups.facts, ups.window_ns, ups.measured_ns, {Method.COUNTER: 600 * KWH * 101 // 100}, 0)
    assert pue(site(main, low), UPS).amount.high >= Fraction(1500, 600)


def test_meters_that_came_later_or_went_count_for_as_long_as_they_were_there():
    def living(name, role, kwh, life, **more):
        e = meter(name, role, kwh, window=life[1] - life[0], **more)
        return MeterEnergy(e.facts, e.window_ns, e.measured_ns, e.energy_uj, 0, (), (life,), 24 * H)

    meters = site(
        living("main", Role.TOTAL, 1500, (0, 24 * H)), living("a", Role.IT, 500, (0, 24 * H), position=UPS),
        living("b", Role.IT, 300, (0, 12 * H), position=UPS), living("c", Role.IT, 200, (12 * H, 24 * H), position=UPS),
    )  # fmt: skip
    assert pue(meters, UPS).amount.value == Fraction(3, 2)
    late = site(living("main", Role.TOTAL, 750, (12 * H, 24 * H)), living("a", Role.IT, 1000, (0, 24 * H), position=UPS))
    assert "not declared over the same time" in pue(late, UPS).amount.reason
    both = site(living("main", Role.TOTAL, 750, (12 * H, 24 * H)), living("a", Role.IT, 500, (12 * H, 24 * H), position=UPS))
    assert (pue(both, UPS).amount.value, pue(both, UPS).coverage) == (Fraction(3, 2), Fraction(1, 2))
    assert enough(pue(both, UPS)).amount.reason == "less than 90% of the window was metered"


def test_it_that_is_metered_side_by_side_at_two_positions_has_no_pue_at_either():
    """A PDU sees one half and the input of a rack the other: neither position sees all."""
    meters = site(
        meter("main", Role.TOTAL, 1500), meter("pdu", Role.IT, 500, position=PDU, parent="main"),
        meter("rack", Role.IT, 500, position=Position.IT_INPUT, parent="main"),
    )  # fmt: skip
    assert (
        pue(meters, PDU).amount.reason
        == "rack at it_input is not below a meter at pdu_output, so part of the IT energy is not metered there"
    )
    assert pue(meters, Position.IT_INPUT).amount.value is None


def test_what_is_stated_in_part_has_to_be_metered_enough_too():
    few = meter("main", Role.TOTAL, 150, measured=2 * H)
    ups = meter("ups", Role.IT, 100, position=UPS, measured=2 * H)
    sign = MeterEnergy(meter("sign", Role.IT, 0, position=UPS).facts, 24 * H, 24 * H, {Method.MODELLED: KWH}, 0)
    result = pue(site(few, ups, sign), UPS)
    assert result.stated
    assert enough(result).amount.reason == "less than 90% of the window was metered"
    assert enough(stated_pue(1, Fraction(14, 10), Fraction(1, 10))).amount.value == Fraction(14, 10)
