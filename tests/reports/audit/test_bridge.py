"""Bridge rows of a restatement: worked out by hand, and summing as they are shown."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given

from reports.audit.bridge import bridge
from reports.figures.facts import RestatedTotal
from tests.reports.audit import editions
from tests.reports.audit.editions import DAYS, document, factor, figure_of, make_edition, restated, revised
from tests.reports.audit.test_difference import random_facts


def test_the_bridge_of_late_data_and_a_revised_factor() -> None:
    """900 kg - 20 kg by the factor + 25 kg by late data = 905 kg, as `late_and_revised` works out; 5/900 is below 5 %."""
    old, new = make_edition(document()), make_edition(editions.late_and_revised())
    assert bridge(old, new) == (
        RestatedTotal("co2e.location", "g", "900000", (("late data", "25000"), ("factor revision", "-20000")), "905000", False),
        RestatedTotal("energy.facility", "kWh", "3000", (("late data", "100"),), "3100", False),
    )
    assert [row.due for row in bridge(old, new, Fraction(1, 30))] == [False, True]


def test_each_cause_has_its_row() -> None:
    def categories(change: Any, programs: tuple[str, str] = ("p", "p")) -> list[str]:
        new = document()
        each = figure_of(new, "energy.facility")
        each["value"] = "3300"
        change(new, each)
        rows = bridge(make_edition(document(), program=programs[0]), make_edition(new, program=programs[1]))
        return [kinds for row in rows for kinds, _ in row.steps]

    assert categories(lambda *_: None, ("p", "q")) == ["method"]
    assert categories(lambda _, each: each.update(method="integrated")) == ["method"]
    assert categories(lambda _, each: each.update(boundary="node")) == ["boundary"]
    assert categories(lambda new, _: new["sites"].pop("sjc1")) == ["boundary"]
    assert categories(lambda new, _: new["inputs"]["files"].clear()) == ["error"]
    assert categories(lambda new, _: new["sites"]["fra1"].update(end_ns="1")) == ["period"]
    assert categories(lambda *_: None) == ["not explained"]
    assert categories(lambda new, each: (restated(new, "fra1", DAYS[0]), each.update(boundary="node"))) == [
        "late data, boundary"
    ]


def test_thirds_are_shown_so_that_they_sum() -> None:
    """At 700 g a factor from 3 to 4 is worth 233.33... g; of +300.5 that leaves 67.16..., shown as 233.3 and 67.2."""
    old, new = document(), document()
    for facts, value, grams in ((old, "700", "3"), (new, "1000.5", "4")):
        facts["figures"] = [figure_of(facts, "co2e.location/site/fra1")]
        facts["figures"][0] |= {"id": "co2e.location", "value": value}
        revised(facts, "deu-2024", factor("deu", grams))
    restated(new, "fra1", DAYS[0])
    (row,) = bridge(make_edition(old), make_edition(new))
    assert row.steps == (("late data", "67.2"), ("factor revision", "233.3"))


@given(random_facts(), random_facts())
def test_rows_sum_as_they_are_shown(old: dict[str, Any], new: dict[str, Any]) -> None:
    for row in bridge(make_edition(old), make_edition(new)):
        assert Decimal(row.before) + sum(Decimal(amount) for _, amount in row.steps) == Decimal(row.after)
