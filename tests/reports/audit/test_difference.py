"""Inputs and figures that differ between two editions, and totals that require a restatement."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.audit.difference import (
    FigureChange,
    difference,
    elsewhere,
    input_changes,
    restated_totals,
    restatement_due,
)
from reports.figures.facts import RestatedTotal
from tests.reports.audit import editions
from tests.reports.audit.editions import DAY_NS, document, factor, figure, figure_of, make_edition


def changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, FigureChange]:
    return {each.id: each for each in difference(make_edition(old), make_edition(new))}


def inputs(new: dict[str, Any], **editions_more: tuple[Any, Any]) -> list[str]:
    """Changes of inputs from the first edition; of other arguments of an edition (before, after)."""
    old_more, new_more = ({name: pair[n] for name, pair in editions_more.items()} for n in (0, 1))
    return [each.text for each in input_changes(make_edition(document(), **old_more), make_edition(new, **new_more))]


def test_same_facts_do_not_differ() -> None:
    assert changed(document(), document()) == {}
    assert inputs(document(), program=("p 1", "p 1"), command=({"country": "DEU"},) * 2) == []


def test_lists_each_changed_figure_and_each_changed_input() -> None:
    """Worked out in `late_and_revised`."""
    changes = changed(document(), editions.late_and_revised())
    assert {name: each.absolute for name, each in changes.items()} == {
        "co2e.location": 5_000,
        "co2e.location/site/fra1": -20_000,
        "co2e.location/site/sjc1": 25_000,
        "energy.facility": 100,
        "energy.facility/site/sjc1": 100,
    }
    assert inputs(editions.late_and_revised()) == [
        "day sjc1 2026-07-02: statement 0 -> 1; different segments; different files",
        "factor deu-2024: removed",
        "factor deu-2025: new",
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda new: new["inputs"]["days"].pop(0), "day fra1 2026-07-01: removed"),
        (lambda new: new["inputs"]["days"].append(editions.day("fra1", "2026-07-03")), "day fra1 2026-07-03: new"),
        (lambda new: new["inputs"]["days"][0]["files"].popitem(), "day fra1 2026-07-01: different files"),
        (lambda new: new["factors"][0].update(value="380"), "factor deu-2024: value 400 -> 380"),
        (lambda new: new["factors"][0].update(sha256=editions.digest("x")), "factor deu-2024: different table"),
        (lambda new: new["factors"][0].update(edition="2026", unit="t"), "factor deu-2024: unit g/kWh -> t; edition - -> 2026"),
        (lambda new: new["inputs"]["files"][0].update(sha256=editions.digest("x")), "file org.yaml: different content"),
        (lambda new: new["inputs"]["files"].clear(), "file org.yaml: removed"),
        (lambda new: new["sites"].pop("sjc1"), "site sjc1: removed"),
        (
            lambda new: new["sites"]["fra1"].update(end_ns=str(editions.START_NS + DAY_NS)),
            "site fra1: end 2026-07-03T00:00:00Z -> 2026-07-02T00:00:00Z",
        ),
    ],
)  # fmt: skip
def test_lists_a_changed_input(change: Any, text: str) -> None:
    new = document()
    change(new)
    assert inputs(new) == [text]


def test_program_and_arguments_are_compared_where_both_editions_state_them() -> None:
    """1 782 864 000 s are 2026-07-01, as `date -u -d @1782864000` says."""
    assert inputs(document(), program=("wattlens 1.0", "wattlens 1.1")) == ["program wattlens: version 1.0 -> 1.1"]
    assert inputs(document(), program=("wattlens 1.0", None)) == []
    commands = {"as_of_ns": str(editions.START_NS)}, {"as_of_ns": str(editions.START_NS + DAY_NS), "country": "DEU"}
    assert inputs(document(), command=commands) == [
        "argument as_of_ns: value 2026-07-01T00:00:00Z -> 2026-07-02T00:00:00Z",
        "argument country: new",
    ]
    assert inputs(document(), command=(commands[0], None)) == []
    assert inputs(document(), command=({"ledger": "a", "restatement": "b", "reason": "c"}, {"ledger": "d"})) == []


def test_facts_without_manifest_state_the_program() -> None:
    old, new = make_edition(document() | {"version": "1.0"}), make_edition(document() | {"version": "1.1"})
    assert [each.text for each in input_changes(old, new)] == ["program wattlens: version 1.0 -> 1.1"]


def test_an_hourly_series_that_figures_name_is_an_input() -> None:
    new = document()
    figure_of(new, "co2e.location")["factor_ids"].append("series.own.DE")
    assert inputs(new) == ["factor series.own.DE: new"]


@pytest.mark.parametrize("field", ["low", "high", "sources", "dims", "a field of a later version"])
def test_a_figure_that_differs_in_any_field_is_a_change(field: str) -> None:
    new = document()
    figure_of(new, "energy.facility")[field] = {"sources": [], "dims": {"team": "a"}}.get(field, "2950")
    assert changed(document(), new)["energy.facility"].absolute == 0


def test_figures_appear_and_disappear_with_the_stated_reason() -> None:
    old, new = document(), document()
    old["figures"].append(figure("pue/site/fra1", "1.2", "ratio"))
    old["figures"].append(figure("gone", "1", "J"))
    old["figures"].append(figure("back", None, "J", reason="no meter yet"))
    new["figures"].append(figure("pue/site/fra1", None, "ratio", reason="the meter was taken out"))
    new["figures"].append(figure("back", "5", "J"))
    changes = changed(old, new)
    assert {name: each.reason for name, each in changes.items()} == {
        "pue/site/fra1": "the meter was taken out", "gone": "", "back": "no meter yet",
    }  # fmt: skip
    assert all(each.absolute is None for each in changes.values())


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
    changes = difference(make_edition(old), make_edition(new))
    assert [each.id for each in changes] == ["c", "d", "b", "a", "e", "f"]
    assert [each.relative for each in changes] == [None, 1, Fraction(1, 2), Fraction(1, 100), None, 0]


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
def test_every_figure_and_input_that_differs_is_listed(old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = changed(old, new)
    a, b = ({each["id"]: each for each in facts["figures"]} for facts in (old, new))
    assert changes.keys() == {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
    for name, each in changes.items():
        before, after = (facts[name]["value"] if name in facts else None for facts in (a, b))
        assert each.absolute == (None if before is None or after is None else Fraction(after) - Fraction(before))
    listed = {(each.kind, each.name) for each in input_changes(make_edition(old), make_edition(new))}
    for before, after in zip(old["inputs"]["days"], new["inputs"]["days"], strict=True):
        assert (before != after) == (("day", f"{before['site']} {before['day']}") in listed)
    a, b = ({each["id"]: each for each in facts["factors"]} for facts in (old, new))
    for name in a.keys() & b.keys():
        assert (a[name] != b[name]) == (("factor", name) in listed)


def test_restated_totals_have_both_values_and_whether_they_are_due() -> None:
    """900 kg become 905 kg, 0.6 %, and 3000 kWh become 3150, 5 %, from which on comparatives are restated."""
    new = editions.late_and_revised()
    figure_of(new, "energy.facility")["value"] = "3150"
    assert restated_totals(make_edition(document()), make_edition(new)) == (
        RestatedTotal("co2e.location", "g", "900000", "905000", False),
        RestatedTotal("energy.facility", "kWh", "3000", "3150", True),
    )
