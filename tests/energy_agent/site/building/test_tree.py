"""The declared tree: nothing is counted twice, and the path that would be is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.meters.facility import MeterFacts, Position, Role, facts_of
from energy_agent.site.building.tree import NOT_IT, below, meters_of_role, path_of, refuse_unsound


def it(name, parent="", position=Position.PDU_OUTPUT):
    return MeterFacts(name, Role.IT, position, parent)


MAIN = MeterFacts("main", Role.TOTAL)
UPS = it("ups", "main", Position.UPS_OUTPUT)


def test_a_pdu_below_a_pdu_is_refused_and_the_path_named():
    with pytest.raises(
        ValueError, match=r"main > ups > pdu-a > rack-7: 'rack-7' is below 'pdu-a' and both are counted as it at pdu"
    ):
        refuse_unsound([MAIN, UPS, it("pdu-a", "ups"), it("rack-7", "pdu-a")])


def test_another_position_or_role_on_the_same_path_is_what_a_tree_is_for():
    refuse_unsound(
        [MAIN, UPS, it("pdu-a", "ups"), it("server", "pdu-a", Position.IT_INPUT), MeterFacts("fan", Role.COOLING, parent="ups")]
    )


@pytest.mark.parametrize(
    ("meters", "words"),
    [
        ([MAIN, MAIN], "duplicate meter id 'main'"),
        ([it("a", "nowhere")], "parent 'nowhere' is not a meter"),
        ([it("a", "b"), it("b", "a")], "form a loop: a > b > a"),
        ([MAIN, MeterFacts("feed", Role.TOTAL, parent="main")], "main > feed: .* both are counted as total"),
        ([it("rack", position=Position.IT_INPUT), it("ups-b", "rack", Position.UPS_OUTPUT)], "rack > ups-b: .* flows from UPS"),
        (
            [MeterFacts("mech", Role.COOLING), it("ups-c", "mech", Position.UPS_OUTPUT)],
            "mech > ups-c: .* is IT and is",
        ),
        ([MeterFacts("chiller", Role.COOLING), MeterFacts("pump", Role.COOLING, parent="chiller")], "chiller > pump"),
    ],
)
def test_what_makes_no_sense_is_refused(meters, words):
    with pytest.raises(ValueError, match=words):
        refuse_unsound(meters)


def test_what_is_not_it_below_it_is_taken_off_once():
    crac = MeterFacts("crac", Role.COOLING, parent="ups")
    pump = MeterFacts("light", Role.LIGHTING, parent="crac")  # through the crac's meter already
    meters = {m.id: m for m in (MAIN, UPS, it("pdu", "ups"), crac, pump)}
    assert below([UPS], meters) == [crac]
    assert meters_of_role(meters.values(), Role.IT, Position.UPS_OUTPUT) == [UPS]


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Role)), st.sampled_from(list(Position)), st.integers(0, 12)), min_size=1, max_size=12
    )
)
def test_no_accepted_tree_has_a_meter_above_another_of_its_sum(tree):
    """The truth by brute force over all pairs."""
    meters = [
        MeterFacts(f"m{n}", role, position if role is Role.IT else None, f"m{parent}" if parent < n else "")
        for n, (role, position, parent) in enumerate(tree)
    ]
    by_id = {m.id: m for m in meters}
    twice = any(
        a is not b and a.role is b.role and a.position is b.position and a.id in path_of(b.id, by_id)
        for a in meters
        for b in meters
    )
    turned = any(
        a.id in path_of(b.id, by_id)[:-1] and a.position and b.position and a.position.category > b.position.category
        for a in meters
        for b in meters
    )
    inside = any(b.role is Role.IT and by_id[i].role in NOT_IT for b in meters for i in path_of(b.id, by_id)[:-1])
    try:
        refuse_unsound(meters)
    except ValueError:
        assert twice or turned or inside
    else:
        assert not any((twice, turned, inside))


def test_facts_survive_the_ledger():
    facts = MeterFacts("m", Role.IT, Position.IT_INPUT, "p", "hall", 10_000, "batch", 5, "snmp")
    assert facts_of("m", facts.labels) == facts
    plain = MeterFacts("m", Role.TOTAL, accuracy_ppm=1)
    assert facts_of("m", plain.labels) == plain
