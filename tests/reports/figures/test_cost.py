"""What groups of workloads cost and are charged where sites pay in several currencies or a class has no price: by hand."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.facts import Facts
from reports.figures.measures.cost import NO_TARIFF, NOT_EVERY_SITE
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.inputs.records import GpuHourPrice
from reports.inputs.tariffs import Tariff
from reports.language import say_in
from reports.page.section import Note, ReportTable
from reports.page.sections import cost
from reports.page.sections.headline import tiles
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.golden import at, cells

JULY = at("2026-07-01")
SEVERAL = "the sites pay in several currencies"
USES = (
    ("berlin", "red", "spot", "0.25"), ("austin", "blue", "", "0.5"), ("berlin", "green", "spot", "0.25"),
    ("paris", "green", "", "0.75"), ("berlin", "mixed", "spot", "0.25"), ("austin", "mixed", "spot", "0.25"),
)  # fmt: skip
"""Site, team, class and kWh a cell of an hour of a GPU of its own."""


def site(name: str, currency: str, price: str) -> SiteInputs:
    keys = {"id": name, "currency": currency, "default_per_kwh": Decimal(price)}
    tariffs = (Tariff(**keys, valid_from=date(2026, 1, 1), source="contract"),) if currency else ()
    return SiteInputs(name, ZoneInfo("UTC"), tariffs=tariffs)


SITES = (site("berlin", "EUR", "0.20"), site("austin", "USD", "0.10"), site("paris", "EUR", "0.40"))


def make_facts(folder: Path, prices: tuple[GpuHourPrice, ...] = (), sites: tuple[SiteInputs, ...] = SITES) -> Facts:
    stands = []
    for n, (where, team, price_class, kwh) in enumerate(USES):
        gpu, workload = f"GPU-{n}", f"w{n}"
        labels = {"team": team, "class": price_class, "model": f"{team}-7b"}
        facts = [WorkloadFacts(workload, JULY, "slurm", {k: v for k, v in labels.items() if v})]
        batch = Batch(
            cells(JULY, gpu, workload, State.ACTIVE, [kwh] * 4), facts=facts, devices=[DeviceFacts(gpu, "H100", 0, JULY)]
        )
        chains.write(folder / "segments", "lab", f"n{n}", [batch])
        stands.append(ExpectedDevice("lab", f"n{n}", gpu, "", where, 0, INT64_MAX))
    organisation = Organisation(
        sites={s.name: s for s in sites}, expected=tuple(stands), prices=prices, least_coverage=Fraction(0)
    )
    days = chains.compacted(folder / "segments", folder / "days", organisation.stays())
    return chains.facts(days, organisation, PeriodRequest("2026Q3"))


def of_teams(facts: Facts, quantity: str) -> dict[str, tuple[str | None, str, str | None]]:
    return {f.dims["team"]: (f.text or None, f.unit, f.reason) for f in facts.of(quantity, "team")}


def notes(facts: Facts) -> list[str]:
    blocks = cost.build(facts, say_in("en"))
    assert isinstance(blocks, tuple)
    return [block.text for block in blocks if isinstance(block, Note)]


def teams_table(facts: Facts) -> dict[str, tuple[str, ...]]:
    blocks = cost.build(facts, say_in("en"))
    assert isinstance(blocks, tuple)
    (table,) = (block for block in blocks if isinstance(block, ReportTable) and block.caption.startswith("Teams"))
    return {row[0]: row[1:] for row in table.rows}


def test_a_group_has_a_cost_where_its_own_sites_share_a_currency(tmp_path: Path) -> None:
    """Red 1 kWh at 0.20; blue 2 at 0.10; green 1 at 0.20 and 3 at 0.40; mixed pays in both currencies."""
    facts = make_facts(tmp_path)
    wanted = {
        "red": ("0.2", "EUR", None), "blue": ("0.2", "USD", None), "green": ("1.4", "EUR", None),
        "mixed": (None, "money", SEVERAL),
    }  # fmt: skip
    assert of_teams(facts, "cost") == wanted
    models = {f.dims["model"].removesuffix("-7b"): (f.text or None, f.unit, f.reason) for f in facts.of("cost", "model")}
    assert models == wanted
    assert [facts.figures[f"cost/site/{s.name}"].text for s in SITES] == ["0.6", "0.3", "1.2"]
    assert (facts.figures["cost"].value, facts.figures["cost"].reason) == (None, SEVERAL)


def test_costs_in_several_currencies_have_a_subtotal_in_each(tmp_path: Path) -> None:
    """Berlin 3 kWh at 0.20 and Paris 3 at 0.40 are 1.80 EUR, Austin 3 at 0.10 are 0.30 USD; mixed has 1 kWh of each."""
    facts = make_facts(tmp_path)
    money = {f.id: (f.text, f.unit) for f in facts.by_prefix("cost.currency/")}
    assert (money["cost.currency/EUR"], money["cost.currency/USD"]) == (("1.8", "EUR"), ("0.3", "USD"))
    assert (money["cost.currency/EUR/team/mixed"], money["cost.currency/USD/team/mixed"]) == (("0.2", "EUR"), ("0.1", "USD"))
    assert facts.figures["cost.currency/EUR"].dims["sites"] == "berlin, paris"
    for currency in ("EUR", "USD"):
        teams = [f.value or 0 for f in facts.of(f"cost.currency/{currency}", "team")]
        rest = facts.figures[f"cost.unattributed/currency/{currency}"].value
        assert sum(teams) + (rest or 0) == facts.figures[f"cost.currency/{currency}"].value
    assert teams_table(facts) == {
        "green": ("1.400 EUR",), "blue": ("0.200 USD",), "red": ("0.200 EUR",), "mixed": ("0.200 EUR; 0.100 USD",),
        "unallocated": ("0 EUR; 0 USD",), "total": ("1.800 EUR; 0.300 USD",),
    }  # fmt: skip
    (tile,) = (tile for tile in tiles(facts, say_in("en")) if tile.label == "Electricity cost")
    assert (tile.value, tile.detail) == ("1.800 EUR; 0.300 USD", SEVERAL)
    blocks = cost.build(facts, say_in("en"))
    assert isinstance(blocks, tuple)
    sites = next(block for block in blocks if isinstance(block, ReportTable))
    assert [row[:2] for row in sites.rows][-2:] == [("total", "1.800 EUR"), ("total", "0.300 USD")]
    assert not any(text.startswith("No amount in column electricity") for text in notes(facts))
    assert f"There is no total cost: {SEVERAL}." in notes(facts)


def test_one_currency_has_a_total_and_no_subtotals(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, sites=tuple(site(s.name, "EUR", "0.2") for s in SITES))
    assert not facts.by_prefix("cost.currency/")
    assert not facts.of("cost.unattributed", "currency")


def test_a_share_of_the_electricity_is_charged_where_its_currency_is_the_price_s(tmp_path: Path) -> None:
    """2 EUR per hour and half of the electricity: red 2 + 0.1, green 4 + 0.7. Blue pays EUR per hour and USD per kWh."""
    charges = of_teams(
        make_facts(tmp_path, (GpuHourPrice(currency="EUR", per_gpu_hour=2, electricity_share_percent=50),)), "charged"
    )
    assert charges == {
        "red": ("2.1", "EUR", None), "green": ("4.7", "EUR", None), "mixed": (None, "EUR", SEVERAL),
        "blue": (None, "money", "price classes and tariffs use several currencies"),
    }  # fmt: skip


def test_the_electricity_alone_is_charged_in_the_currency_of_the_team_s_sites(tmp_path: Path) -> None:
    charges = of_teams(make_facts(tmp_path, (GpuHourPrice(electricity_share_percent=100),)), "charged")
    assert (charges["blue"], charges["green"]) == (("0.2", "USD", None), ("1.4", "EUR", None))
    assert charges["mixed"] == (None, "money", SEVERAL)


def test_the_cost_of_teams_and_what_is_unallocated_is_the_total(tmp_path: Path) -> None:
    """9 kWh at 0.20, all of them some team's: 3 in Berlin, 3 in Austin, 3 in Paris."""
    facts = make_facts(tmp_path, sites=tuple(site(s.name, "EUR", "0.2") for s in SITES))
    table = teams_table(facts)
    assert (table["total"][0], table["unallocated"][0]) == ("1.800", "0.000")  # 9 kWh
    assert [facts.figures[name].text for name in ("cost", "cost.unattributed")] == ["1.8", "0"]


def test_hours_of_a_class_without_a_price_are_listed_as_unpriced(tmp_path: Path) -> None:
    """One EUR an hour of spot alone: red 1 h; green 1 h, and one that nobody charges; blue has no other."""
    facts = make_facts(tmp_path, (GpuHourPrice(price_class="spot", currency="EUR", per_gpu_hour=1),))
    assert of_teams(facts, "charged") == {
        "red": ("1", "EUR", None), "green": ("1", "EUR", None), "mixed": ("2", "EUR", None),
        "blue": (None, "money", "none of its workloads has a price class with a price"),
    }  # fmt: skip
    unpriced_hours = {f.dims["team"]: f.dims.get("unpriced_gpu_hours") for f in facts.of("charged", "team")}
    assert unpriced_hours == {"red": None, "green": "1", "mixed": None, "blue": "1"}
    assert teams_table(facts)["green"] == ("1.400 EUR", "1.000")
    assert "GPU hours of classes without a price, which are not charged: blue 1.000, green 1.000." in notes(facts)
    assert "No amount in column charged for blue: none of its workloads has a price class with a price." in notes(facts)


@pytest.mark.parametrize(
    ("sites", "reason", "mixed"),
    [
        ((SITES[0], site("austin", "", "0"), SITES[2]), NOT_EVERY_SITE, NOT_EVERY_SITE),
        (tuple(site(s.name, "", "0") for s in SITES), NO_TARIFF, None),
    ],
)
def test_a_site_without_tariffs(tmp_path: Path, sites: tuple[SiteInputs, ...], reason: str, mixed: str | None) -> None:
    """It takes the cost from who was there and from the total; where no site has tariffs, no group has a figure."""
    facts = make_facts(tmp_path, sites=sites)
    assert facts.figures["cost"].reason == reason
    costs = of_teams(facts, "cost")
    if mixed is None:
        assert costs == {}
        return
    assert costs["mixed"] == (None, "money", mixed)
    assert costs["blue"] == (None, "money", "its sites have no tariffs")
    assert (costs["red"], costs["green"]) == (("0.2", "EUR", None), ("1.4", "EUR", None))
