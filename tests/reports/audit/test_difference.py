"""Why figures differ: causes that can reach them, parts that sum to the change, and what nothing explains."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.audit.causes import Cause, input_changes
from reports.audit.difference import FigureChange, difference, elsewhere, restatement_due
from reports.audit.parts import CauseShare
from tests.reports.audit import editions
from tests.reports.audit.editions import DAY_NS, DAYS, document, factor, figure, figure_of, make_edition, restated, revised

LATE, FACTOR = (Cause.LATE_DATA,), (Cause.FACTOR,)


Programs = tuple[str | None, ...]


def changed(old: dict[str, Any], new: dict[str, Any], programs: Programs = (None, None)) -> dict[str, FigureChange]:
    return {
        each.id: each for each in difference(make_edition(old, program=programs[0]), make_edition(new, program=programs[1]))
    }


def parts(*each: tuple[tuple[Cause, ...], int]) -> tuple[CauseShare, ...]:
    return tuple(CauseShare(causes, Fraction(amount)) for causes, amount in each)


def test_the_same_facts_do_not_differ() -> None:
    assert changed(document(), document()) == {}


def test_late_data_and_a_revised_factor_are_told_apart_by_site_and_in_the_total() -> None:
    """Worked out in `late_and_revised`."""
    found = changed(document(), editions.late_and_revised())
    assert found["co2e.location/site/fra1"].parts == parts((FACTOR, -20_000))
    assert found["co2e.location/site/sjc1"].parts == parts((LATE, 25_000))
    assert found["co2e.location"].parts == parts((LATE, 25_000), (FACTOR, -20_000))
    assert found["energy.facility"].parts == parts((LATE, 100))
    assert "energy.facility/site/fra1" not in found
    assert all(each.explained for each in found.values())


def test_a_factor_explains_its_part_at_the_energy_of_the_old_edition() -> None:
    """1000 kWh x (380 - 400) = -20 kg; the ten kWh that came late are of the new factor: 10 x 380 = 3.8 kg."""
    new = document()
    restated(new, "fra1", DAYS[0])
    revised(new, "deu-2024", factor("deu-2025", "380"))
    figure_of(new, "co2e.location/site/fra1")["value"] = "383800"
    assert changed(document(), new)["co2e.location/site/fra1"].parts == parts((LATE, 3_800), (FACTOR, -20_000))


def test_the_mean_factor_of_a_place_counts_where_a_figure_has_hourly_ones() -> None:
    """Two hourly series with no one value; their mean over the site's hours went from 400 to 410: 1000 x 10 = 10 kg."""
    old, new = document(), document()
    for facts, mean, value in ((old, "400", "400000"), (new, "410", "410000")):
        for each in facts["factors"]:
            each.pop("value")
        facts["figures"].append(figure("grid_intensity/site/fra1", mean, "g/kWh", factor_ids=["deu-2024"]))
        figure_of(facts, "co2e.location/site/fra1")["value"] = value
    new["factors"][0]["sha256"] = editions.digest("revised hours")
    found = changed(old, new)
    assert found["co2e.location/site/fra1"].parts == parts((FACTOR, 10_000))
    assert found["grid_intensity/site/fra1"].parts == parts((FACTOR, 10))


SERIES = "series.location.DE.entsoe"


@pytest.mark.parametrize("as_of", [("1", "1"), ("1", "2"), (None, None)])
def test_hourly_intensities_are_revised_only_where_they_were_taken_as_of_another_time(as_of: tuple[str | None, ...]) -> None:
    """The hourly mean rose from 400 to 410 with a late day: with the same as-of time, late data explains the whole change."""
    old, new = document(), document()
    restated(new, "fra1", DAYS[0])
    for facts, mean, value in ((old, "400", "400000"), (new, "410", "414100")):
        facts["figures"].append(figure("grid_intensity/site/fra1", mean, "g/kWh", factor_ids=[SERIES]))
        figure_of(facts, "co2e.location/site/fra1").update(value=value, factor_ids=[SERIES])
    commands = [None if each is None else {"as_of_ns": each} for each in as_of]
    found = {
        each.id: each for each in difference(make_edition(old, command=commands[0]), make_edition(new, command=commands[1]))
    }
    same = as_of == ("1", "1")
    wanted = parts((LATE, 14_100)) if same else parts((LATE, 4_100), (FACTOR, 10_000))
    assert found["co2e.location/site/fra1"].parts == wanted
    assert Cause.ARGUMENTS not in found["co2e.location/site/fra1"].causes


def test_a_factor_does_not_move_what_contracts_bring() -> None:
    """Half of fra1 is of a contract at 100 g/kWh: 50 kg + 500 kWh x 400 = 250 kg, then 50 + 500 x 380 = 240 kg."""
    for grams, wanted in (("50000", (FACTOR, -10_000)), ("0", (FACTOR, -12_500))):
        old, new = document(), document()
        revised(new, "deu-2024", factor("deu-2025", "380"))
        for facts, value, ids in ((old, "250000", ["deu-2024"]), (new, "240000", ["deu-2025"])):
            facts["figures"].append(figure("co2e.market.instruments/site/fra1", grams, "g"))
            facts["figures"].append(figure("co2e.market/site/fra1", value, "g", factor_ids=ids))
        assert changed(old, new)["co2e.market/site/fra1"].parts[0] == parts(wanted)[0]


def test_a_factor_reaches_carbon_that_names_none_and_no_energy() -> None:
    old, new = document(), document()
    revised(new, "deu-2024", factor("deu-2025", "380"))
    for facts, value in ((old, "2"), (new, "3")):
        facts["figures"] += [figure(name, value, "g") for name in ("sci_per_token", "co2e.market.residual/site/fra1", "cost")]
    found = changed(old, new)
    assert {name: found[name].causes for name in ("sci_per_token", "co2e.market.residual/site/fra1", "cost")} == {
        "sci_per_token": FACTOR, "co2e.market.residual/site/fra1": FACTOR, "cost": (Cause.UNEXPLAINED,),
    }  # fmt: skip


def test_what_a_factor_does_not_explain_is_said_to_be_unexplained() -> None:
    """1000 kWh at 380 are 380 kg; the edition says 390 and nothing else changed."""
    new = document()
    revised(new, "deu-2024", factor("deu-2025", "380"))
    figure_of(new, "co2e.location/site/fra1")["value"] = "390000"
    found = changed(document(), new)["co2e.location/site/fra1"]
    assert found.parts == parts((FACTOR, -20_000), ((Cause.UNEXPLAINED,), 10_000))
    assert not found.explained


def test_what_is_left_by_two_roundings_is_rounding() -> None:
    """400 kg x 381/400 = 381000 g; a figure that differs only by rounding to 0.001 g is the same figure."""
    new = document()
    revised(new, "deu-2024", factor("deu-2025", "381"))
    figure_of(new, "co2e.location/site/fra1")["value"] = "381000.001"
    found = changed(document(), new)["co2e.location/site/fra1"]
    assert found.parts == (CauseShare(FACTOR, Fraction(-19_000)), CauseShare((Cause.ROUNDING,), Fraction(1, 1000)))
    assert found.explained


def test_a_total_divides_as_its_sites_do() -> None:
    """fra1 is metered otherwise (+6), sjc1 had late data (+100), ams1 is new (+50); 3000 kWh become 3156."""
    new = document()
    restated(new, "sjc1", DAYS[1])
    new["sites"]["ams1"] = new["sites"]["fra1"]
    new["figures"].append(figure("energy.facility/site/ams1", "50", "kWh"))
    figure_of(new, "energy.facility/site/fra1").update(value="1006", method="integrated")
    figure_of(new, "energy.facility/site/sjc1")["value"] = "2100"
    figure_of(new, "energy.facility").update(value="3156", method="counter,integrated")
    found = changed(document(), new)["energy.facility"]
    assert found.parts == parts((LATE, 100), ((Cause.METHOD,), 6), ((Cause.BOUNDARY,), 50))


def test_a_total_that_is_not_the_sum_of_its_sites_is_not_divided() -> None:
    new = editions.late_and_revised()
    figure_of(new, "co2e.location")["value"] = "906000"
    assert changed(document(), new)["co2e.location"].parts == parts(((Cause.LATE_DATA, Cause.FACTOR), 6_000))


def test_what_is_unexplained_at_a_site_is_unexplained_in_the_total() -> None:
    """fra1: 390 kg where its factor makes 380 of 400; 915 kg are 900 - 20 + 25 + 10."""
    new = editions.late_and_revised()
    figure_of(new, "co2e.location/site/fra1")["value"] = "390000"
    figure_of(new, "co2e.location")["value"] = "915000"
    found = changed(document(), new)["co2e.location"]
    assert found.parts == parts((LATE, 25_000), (FACTOR, -20_000), ((Cause.UNEXPLAINED,), 10_000))
    assert not found.explained


def test_what_is_unexplained_at_a_site_does_not_hide_behind_the_one_cause_of_a_total() -> None:
    """sjc1 had late data (+100), fra1 moved by 7 without a cause; that late data is in the total does not make 107 of it."""
    new = document()
    restated(new, "sjc1", DAYS[0])
    for identity, value in {"": "3107", "/site/fra1": "1007", "/site/sjc1": "2100"}.items():
        figure_of(new, f"energy.facility{identity}")["value"] = value
    assert changed(document(), new)["energy.facility"].parts == parts((LATE, 100), ((Cause.UNEXPLAINED,), 7))


def test_factors_that_cannot_be_divided_are_one_part_with_what_else_there_is() -> None:
    """A team's figure names two factors, and no figures of its sites are there."""
    old, new = document(), editions.late_and_revised()
    old["figures"].append(figure("co2e.location/team/a", "100", "g", factor_ids=["deu-2024", "usa-2024"]))
    new["figures"].append(figure("co2e.location/team/a", "130", "g", factor_ids=["deu-2025", "usa-2024"]))
    assert changed(old, new)["co2e.location/team/a"].parts == parts(((Cause.LATE_DATA, Cause.FACTOR), 30))


def test_a_value_that_moves_while_nothing_else_does_is_unexplained() -> None:
    new = document()
    figure_of(new, "energy.facility/site/fra1")["value"] = "1001"
    found = changed(document(), new)["energy.facility/site/fra1"]
    assert found.causes == (Cause.UNEXPLAINED,)
    assert found.parts == parts(((Cause.UNEXPLAINED,), 1))


@pytest.mark.parametrize("field", ["low", "high", "sources", "dims", "a field of a later version"])
def test_a_figure_that_says_anything_otherwise_is_a_change(field: str) -> None:
    new = document()
    figure_of(new, "energy.facility")[field] = {"sources": [], "dims": {"team": "a"}}.get(field, "2950")
    found = changed(document(), new)["energy.facility"]
    assert (found.absolute, found.parts, found.explained) == (0, (), False)


def test_a_restated_day_explains_figures_of_its_site_alone() -> None:
    new = document()
    restated(new, "sjc1", DAYS[0])
    for identity in ("energy.facility/site/fra1", "energy.facility/site/sjc1", "energy.facility"):
        figure_of(new, identity)["value"] = "2500"
    found = changed(document(), new)
    assert found["energy.facility/site/fra1"].causes == (Cause.UNEXPLAINED,)
    assert found["energy.facility/site/sjc1"].causes == found["energy.facility"].causes == LATE


def test_late_data_does_not_explain_what_the_ledger_does_not_feed() -> None:
    old, new = document(), document()
    restated(new, "fra1", DAYS[0])
    for facts, value in ((old, "10"), (new, "12")):
        facts["figures"].append(figure("dvfs.saved", value, "J", sources=["savings"]))
    assert changed(old, new)["dvfs.saved"].causes == (Cause.UNEXPLAINED,)


@pytest.mark.parametrize(("date", "explained"), [("2026-10-03", True), ("2026-07-03", True), ("2026-06-30", False)])
def test_a_late_analysis_explains_savings_of_its_quarter(date: str, explained: bool) -> None:
    """It stands on a day after the period, and reaches no energy; what is before the quarter reaches neither."""
    old, new = document(), document()
    new["inputs"]["days"].append(editions.day("fra1", date, 1))
    for facts, value in ((old, "10"), (new, "12")):
        facts["figures"] += [figure(f"dvfs.{name}", value, "J", dims={"site": "fra1"}) for name in ("saved", "claimed")]
        figure_of(facts, "energy.facility/site/fra1")["value"] = value
    found = changed(old, new)
    for name in ("dvfs.saved", "dvfs.claimed"):
        assert found[name].causes == (LATE if explained else (Cause.UNEXPLAINED,))
    if date > "2026-07-02":
        assert found["energy.facility/site/fra1"].causes == (Cause.UNEXPLAINED,)


def test_each_cause_is_named_by_what_differs() -> None:
    def cause(change: Any, *programs: str) -> tuple[Cause, ...]:
        new = document()
        each = figure_of(new, "energy.facility/site/fra1")
        each["value"] = "1100"
        change(new, each)
        return changed(document(), new, programs or (None, None))[each["id"]].causes

    assert cause(lambda _, each: each.update(method="integrated")) == (Cause.METHOD,)
    assert cause(lambda _, each: each.update(boundary="node")) == (Cause.BOUNDARY,)
    assert cause(lambda _, each: each.update(coverage="0.97")) == (Cause.COVERAGE,)
    assert cause(lambda new, _: new["inputs"]["files"][0].update(sha256=editions.digest("other"))) == (Cause.FILES,)
    assert cause(lambda new, _: new["sites"]["fra1"].update(end_ns=str(editions.START_NS + 3 * DAY_NS))) == (Cause.PERIOD,)
    assert cause(lambda *_: None, "wattlens 1.0", "wattlens 1.1") == (Cause.PROGRAM,)
    assert cause(lambda *_: None, "wattlens 1.0", "wattlens 1.0") == (Cause.UNEXPLAINED,)


def test_arguments_are_a_cause_where_both_manifests_tell_them() -> None:
    new = document()
    figure_of(new, "energy.facility")["value"] = "2999"
    editions_of = make_edition(document(), command={"as_of": "2026-10-02"}), make_edition(new, command={"as_of": "2026-11-02"})
    (found,) = difference(*editions_of)
    assert found.causes == (Cause.ARGUMENTS,)
    assert input_changes(*editions_of).arguments == {"as_of": "2026-10-02 -> 2026-11-02"}


@pytest.mark.parametrize(
    ("argument", "reached"),
    [
        ("quarter", {"energy.facility", "dvfs.saved", "co2e.location"}),
        ("saved_j", {"dvfs.saved"}),
        ("slowdown_ratio", {"dvfs.saved"}),
        ("prometheus_joules", set()),
        ("as_of_ns", set()),
        ("country", set()),
        ("ledger", set()),
        ("org", set()),
        ("restatement", set()),
    ],
)
def test_an_argument_explains_what_it_decides(argument: str, reached: set[str]) -> None:
    old, new = document(), document()
    for facts, value in ((old, "2"), (new, "3")):
        facts["figures"].append(figure("dvfs.saved", value, "J"))
        figure_of(facts, "energy.facility")["value"] = figure_of(facts, "co2e.location")["value"] = value
    found = difference(make_edition(old, command={argument: "1"}), make_edition(new, command={argument: "2"}))
    assert {each.id for each in found if Cause.ARGUMENTS in each.causes} == reached
    assert {each.id for each in found if not each.explained} == {each.id for each in found} - reached


def test_the_time_as_of_which_is_shown_as_a_time() -> None:
    """1 782 864 000 s are 2026-07-01, as `date -u -d @1782864000` says."""
    commands = ({"as_of_ns": str(editions.START_NS)}, {"as_of_ns": str(editions.START_NS + DAY_NS)})
    changes = input_changes(make_edition(document(), command=commands[0]), make_edition(document(), command=commands[1]))
    assert changes.arguments == {"as_of_ns": "2026-07-01T00:00:00Z -> 2026-07-02T00:00:00Z"}


def test_facts_alone_tell_the_program_too() -> None:
    new = document() | {"version": "1.1"}
    figure_of(new, "energy.facility")["value"] = "1"
    (found,) = difference(make_edition(document() | {"version": "1.0"}), make_edition(new))
    assert found.causes == (Cause.PROGRAM,)


def test_days_beyond_the_old_period_are_no_late_data() -> None:
    new = document()
    new["sites"]["fra1"]["end_ns"] = str(editions.START_NS + 3 * DAY_NS)
    new["inputs"]["days"].append(editions.day("fra1", "2026-07-03"))
    changes = input_changes(make_edition(document()), make_edition(new))
    assert [(each.day, each.late) for each in changes.days] == [("2026-07-03", False)]
    assert (changes.late_sites, changes.periods) == (frozenset(), {"fra1": "different start or end"})


def test_coverage_and_method_come_with_late_data_and_take_no_part_from_it() -> None:
    new = document()
    restated(new, "fra1", DAYS[0])
    figure_of(new, "energy.facility/site/fra1").update(value="1010", coverage="0.99", method="bridged,counter")
    found = changed(document(), new)["energy.facility/site/fra1"]
    assert set(found.causes) == {Cause.LATE_DATA, Cause.COVERAGE, Cause.METHOD}
    assert found.parts == parts((LATE, 10))


def test_with_another_program_late_data_cannot_be_told_apart() -> None:
    new = document()
    restated(new, "fra1", DAYS[0])
    figure_of(new, "energy.facility/site/fra1")["value"] = "1010"
    found = changed(document(), new, ("wattlens 1.0", "wattlens 1.1"))["energy.facility/site/fra1"]
    assert found.parts == parts(((Cause.LATE_DATA, Cause.PROGRAM), 10))


def test_figures_appear_and_disappear_with_the_reason_that_is_stated() -> None:
    old, new = document(), document()
    old["figures"].append(figure("pue/site/fra1", "1.2", "ratio"))
    old["figures"].append(figure("gone", "1", "J"))
    old["figures"].append(figure("back", None, "J", reason="no meter yet"))
    new["figures"].append(figure("pue/site/fra1", None, "ratio", reason="the meter was taken out"))
    new["figures"].append(figure("back", "5", "J"))
    found = changed(old, new)
    told = {name: (found[name].causes, found[name].reason, found[name].explained) for name in found}
    assert told == {
        "pue/site/fra1": ((Cause.DISAPPEARED,), "the meter was taken out", True),
        "gone": ((Cause.DISAPPEARED, Cause.UNEXPLAINED), "", False),
        "back": ((Cause.APPEARED,), "no meter yet", True),
    }
    assert all(each.absolute is None for each in found.values())


def test_intervals_that_touch_overlap() -> None:
    def overlap(low: str | None, high: str | None) -> bool | None:
        new = document()
        figure_of(new, "energy.facility").update(value="3150", low=low, high=high)  # before: 2900 to 3100
        return changed(document(), new)["energy.facility"].overlap

    assert overlap("3100", "3200") is True
    assert overlap("3101", "3200") is False
    assert overlap(None, None) is None


def test_what_moved_most_comes_first_and_what_did_not_move_last() -> None:
    old, new = document(), document()
    for name, values in {
        "a": ("100", "101"), "b": ("-100", "-50"), "c": ("0", "1"), "d": ("10", "20"), "e": ("7", None), "f": ("3", "3"),
    }.items():  # fmt: skip
        old["figures"].append(figure(name, values[0], "J"))
        new["figures"].append(figure(name, values[1], "J", method="other", reason=None if values[1] else "gone"))
    found = difference(make_edition(old), make_edition(new))
    assert [each.id for each in found] == ["c", "d", "b", "a", "e", "f"]
    assert [each.relative for each in found] == [None, 1, Fraction(1, 2), Fraction(1, 100), None, 0]


def test_comparatives_are_restated_from_the_threshold_on_and_by_totals_alone() -> None:
    def due(value: str, threshold: Fraction = Fraction(5, 100)) -> list[str]:
        new = document()
        for identity in ("energy.facility", "energy.facility/site/fra1"):
            figure_of(new, identity)["value"] = value
        return [each.id for each in restatement_due(list(changed(document(), new).values()), threshold)]

    assert due("3150") == due("2850") == ["energy.facility"]  # 5 % of 3000 are 150
    assert due("3149.999") == []
    assert due("3149.999", Fraction(1, 100)) == ["energy.facility"]


def test_coverage_of_the_data_restates_nothing() -> None:
    old, new = document(), document()
    for facts, value in ((old, "0.5"), (new, "0.99")):
        facts["figures"] += [figure("coverage", value, "ratio"), figure("quality.method", value, "ratio")]
    assert restatement_due(list(changed(old, new).values())) == []


def test_what_differs_beside_figures_is_named() -> None:
    new = editions.late_and_revised()
    new["conservation"]["devices_uj"] = "2"
    new["sites"]["fra1"]["time_zone"] = "Europe/Berlin"
    assert elsewhere(make_edition(document()), make_edition(new)) == ["conservation", "edition", "restates", "sites.fra1"]


VALUES = st.integers(-(10**9), 10**12).map(str) | st.decimals(-1000, 10**6, places=6).map(lambda d: f"{d:f}") | st.none()


@st.composite
def random_facts(draw: st.DrawFn) -> dict[str, Any]:
    """Any edition: figures of both sites and their sums with any values, methods and factors, any statements and hashes."""
    facts = document()
    facts["factors"] = [
        factor(name, draw(st.sampled_from(["400", "380.5", "0", "-3"])), edition=draw(st.sampled_from("ab")))
        for name in draw(st.sets(st.sampled_from(["deu-2024", "deu-2025", "usa-2024"])))
    ]
    names = st.lists(st.sampled_from(["deu-2024", "deu-2025", "usa-2024"]), max_size=2, unique=True)
    for each in facts["figures"]:
        value = draw(VALUES)
        each.update(value=value, reason=None if value else "absent", factor_ids=draw(names))
        each.update(method=draw(st.sampled_from(["counter", "bridged"])), boundary=draw(st.sampled_from(["gpu", "facility"])))
    facts["figures"] = [each for each in facts["figures"] if draw(st.integers(0, 9))]
    for each in facts["inputs"]["days"]:
        each["statement"] = draw(st.integers(0, 1))
    return facts


@given(random_facts(), random_facts())
def test_parts_sum_to_the_whole_change_and_no_figure_is_passed_over(old: dict[str, Any], new: dict[str, Any]) -> None:
    found = changed(old, new)
    a, b = ({each["id"]: each for each in facts["figures"]} for facts in (old, new))
    assert found.keys() == {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
    for name, each in found.items():
        before, after = (facts[name]["value"] if name in facts else None for facts in (a, b))
        if before is None or after is None:
            assert (each.absolute, each.parts) == (None, ())
        else:
            assert each.absolute == Fraction(after) - Fraction(before) == sum((part.amount for part in each.parts), Fraction(0))
        assert each.causes


@given(*[st.integers(1, 10**9)] * 2, *[st.integers(1, 5000)] * 2)
def test_a_factors_part_is_the_old_energy_times_its_change(kwh_0: int, kwh_1: int, g_0: int, g_1: int) -> None:
    old, new = document(), document()
    restated(new, "fra1", DAYS[0])
    for facts, kwh, grams in ((old, kwh_0, g_0), (new, kwh_1, g_1)):
        revised(facts, "deu-2024", factor("deu", str(grams)))
        figure_of(facts, "co2e.location/site/fra1")["value"] = str(kwh * grams)
    found = changed(old, new).get("co2e.location/site/fra1")
    amounts = {part.causes: part.amount for part in found.parts} if found else {}
    assert amounts.get(FACTOR, 0) == (kwh_0 * (g_1 - g_0) if kwh_0 * g_0 != kwh_1 * g_1 else 0)
    assert amounts.get(LATE, 0) == ((kwh_1 - kwh_0) * g_1 if kwh_0 * g_0 != kwh_1 * g_1 else 0)
