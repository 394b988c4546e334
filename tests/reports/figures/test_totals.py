"""Totals over sites: of one kind of emissions, over what was there, and nothing where nothing was drawn."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import Piece
from energy_agent.ledger.fleet.sites import DeviceLocation, Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.compose import compose
from reports.figures.facts import Facts
from reports.figures.measures import comparison
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.language import say_in
from reports.page.section import Note
from reports.page.sections import headline
from reports.period import PeriodRequest
from reports.statement import ReportStatement
from tests.reports import chains
from tests.reports.chains import CELL, DAY
from tests.reports.golden import at, cells, tariff

JULY, OCTOBER = at("2026-07-01"), at("2026-10-01")
DIRECT, WHOLE = Basis(EmissionBoundary.DIRECT), Basis(EmissionBoundary.LIFE_CYCLE)


def site(name: str, basis: Basis, grams: int = 100) -> SiteInputs:
    source = IntensitySource(f"of.{name}", basis, 4, (Piece(0, 1 << 63, Decimal(grams), estimated=False),))
    return SiteInputs(name, ZoneInfo("UTC"), location=(source,), location_lacking="", tariffs=tariff("0.20"))


def make_facts(folder: Path, kwh: dict[str, str], sites: list[SiteInputs], *, absent: tuple[ExpectedDevice, ...] = ()) -> Facts:
    """An hour of one GPU at each site, so many kWh a cell."""
    stands = []
    for name, energy in kwh.items():
        gpu = f"GPU-{name}"
        devices = [DeviceFacts(gpu, "H100", 0.02, JULY)]
        entries = cells(JULY, gpu, "w", State.ACTIVE, [energy] * 4, 0)
        chains.write(folder / "segments", "lab", name, [Batch(entries, devices=devices)])
        stands.append(ExpectedDevice("lab", name, gpu, "", name, 0, INT64_MAX))
    told_by = Organisation(sites={s.name: s for s in sites}, expected=(*stands, *absent), least_coverage=Fraction(0))
    days = chains.compacted(folder / "segments", folder / "days", told_by.stays())
    return chains.facts(days, told_by, PeriodRequest("2026Q3"))


def test_sites_that_count_different_emissions_have_no_total(tmp_path: Path) -> None:
    figures = make_facts(tmp_path, {"one": "0.5", "two": "0.25"}, [site("one", DIRECT), site("two", WHOLE)]).figures
    assert figures["co2e.location/site/one"].text == "200"
    assert figures["co2e.lifecycle.location/site/two"].text == "100"
    assert figures["co2e.location/site/two"].value is None
    for identity in ("co2e.location", "co2e.market", "co2e.held.location"):
        assert figures[identity].reason == (
            "the sites use different bases for the emissions of the grid: one direct, location, CO2e and two life-cycle, "
            "location, CO2e"
        )
    assert figures["co2e.held.location/site/one"].text == "200"


@pytest.mark.smoke
def test_grams_of_different_emissions_are_not_compared(tmp_path: Path) -> None:
    """The quarter before took a factor of the life cycle, this one a series of the chimney alone."""
    devices = [DeviceFacts("GPU-one", "H100", 0.02, JULY - 90 * DAY)]
    hours = [cells(t, "GPU-one", "w", State.ACTIVE, ["0.5"] * 4, 0) for t in (JULY - 30 * DAY, JULY, OCTOBER)]
    chains.write(tmp_path / "segments", "lab", "one", [Batch(hours[0], devices=devices), *map(Batch, hours[1:])])
    by_date = [
        IntensitySource("before", WHOLE, 4, (Piece(0, JULY, Decimal(300), estimated=False),)),
        IntensitySource("now", DIRECT, 4, (Piece(JULY, 1 << 63, Decimal(100), estimated=False),)),
    ]
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Organisation().stays("one"))
    reasons = {}
    for then in (by_date[0], IntensitySource("before", DIRECT, 4, by_date[0].pieces)):
        period_evidence = []
        for location in (then, by_date[1]):
            inputs = SiteInputs("one", ZoneInfo("UTC"), location=(location,), location_lacking="")
            told_by = Organisation(sites={"one": inputs}, least_coverage=Fraction(0))
            period_evidence.append(chains.evidence(days, told_by, PeriodRequest("2026Q2" if location is then else "2026Q3"))[0])
        figures = {f.id: f for f in comparison.figures(replace(period_evidence[1], before=period_evidence[0]))}
        reasons[then.basis] = figures.get("bridge.co2e/before", figures.get("bridge.co2e/before/grid"))
    assert reasons[WHOLE].reason == (
        "emissions on different bases are not compared: direct, location, CO2e and life-cycle, location, CO2e"
    )
    # 2 kWh in either quarter, of 300 g then and 100 g now.
    assert reasons[DIRECT].text == str(2 * (100 - 300))


@pytest.mark.parametrize("base_year", [None, 2025])
def test_totals_at_unequal_boundaries_are_compared_on_no_page(tmp_path: Path, base_year: int | None) -> None:
    """GPUs alone before, and since July the building by its invoices: 10 kWh at 100 g are 1 kg, and 2 kWh before 0.2 kg.

    The energy of GPUs is the same quantity in both: 2 kWh then and 4 kWh now.
    """
    ago = JULY - 365 * DAY if base_year else JULY - 30 * DAY
    label = "2025Q3" if base_year else "2026Q2"
    devices = [DeviceFacts("GPU-one", "H100", 0.02, ago)]
    hours = [cells(t, "GPU-one", "w", State.ACTIVE, [kwh] * 4, 0) for t, kwh in ((ago, "0.5"), (JULY, "1"), (OCTOBER, "1"))]
    chains.write(tmp_path / "segments", "lab", "one", [Batch(hours[0], devices=devices), *map(Batch, hours[1:])])
    bill = chains.bill("R", JULY, OCTOBER, 10, 1)
    invoiced_site = replace(site("one", DIRECT), invoices=(bill,))
    told_by = Organisation(
        sites={"one": invoiced_site}, least_coverage=Fraction(0), statement=ReportStatement(base_year=base_year)
    )
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites({}, "one"))
    facts = chains.facts(days, told_by, PeriodRequest("2026Q3"))
    why = "the boundary of one was gpu then, and is facility now"
    assert facts.figures["co2e.location"].text == "1000"
    for prefix in (f"total.period/{label}", *(() if base_year else ("total.before",))):
        for name in ("co2e.location", "co2e.market", "cost"):
            total = facts.figures.get(f"{prefix}/{name}")
            assert total is None or (total.value, total.reason) == (None, why)
        assert facts.figures[f"{prefix}/co2e.location"].reason == why
        assert facts.figures[f"{prefix}/energy.gpu"].text == str(2 * 3_600_000)
    document = compose(facts, say_in("en"))
    assert [t.trend for t in headline.tiles(facts, say_in("en")) if "Scope 2" in t.label] == ["", ""]
    blocks = [block for section in document.sections for block in section.blocks]
    notes = [block.text for block in blocks if isinstance(block, Note)]
    sentence = f"Emissions and other totals at the boundary of each site are not compared with {label}: {why}."
    assert sentence in notes
    assert not any("%" in text and "Scope 2" in text for text in notes)


def test_invoices_of_a_site_are_not_compared_with_its_devices_of_another_period(tmp_path: Path) -> None:
    """`two` has an invoice of 10 kWh in the second quarter and a GPU of 4 kWh in the third; `one` has a GPU in both."""
    ago = JULY - 30 * DAY
    for name, starts in (("one", (ago, JULY)), ("two", (JULY,))):
        devices = [DeviceFacts(f"GPU-{name}", "H100", 0.02, starts[0])]
        hours = [cells(t, f"GPU-{name}", "w", State.ACTIVE, ["1"] * 4, 0) for t in (*starts, OCTOBER)]
        chains.write(tmp_path / "segments", "lab", name, [Batch(hours[0], devices=devices), *map(Batch, hours[1:])])
    bill = chains.bill("R", at("2026-04-01"), JULY, 10, 1)
    sites = {"one": site("one", DIRECT), "two": replace(site("two", DIRECT), invoices=(bill,))}
    told_by = Organisation(sites=sites, least_coverage=Fraction(0))
    stands = {("lab", name, ""): (DeviceLocation(name, 0, INT64_MAX),) for name in sites}
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites(stands))
    facts = chains.facts(days, told_by, PeriodRequest("2026Q3"))
    why = "the boundary of two was facility then, and is gpu now"
    assert facts.figures["co2e.location"].text == "800"
    for identity in ("total.before/co2e.location", "total.period/2026Q2/co2e.location"):
        assert (facts.figures[identity].value, facts.figures[identity].reason) == (None, why)


def test_a_site_that_drew_nothing_emitted_and_paid_nothing(tmp_path: Path) -> None:
    figures = make_facts(tmp_path, {"one": "0.5", "two": "0"}, [site("one", DIRECT), site("two", DIRECT)]).figures
    assert [figures[f"{name}/site/two"].text for name in ("co2e.location", "co2e.market", "cost")] == ["0", "0", "0"]
    assert (figures["co2e.location"].text, figures["cost"].text) == ("200", "0.4")


def test_site_before_its_opening_is_no_gap_and_a_silent_one_is(tmp_path: Path) -> None:
    """`later` opens in October: it is left out. The same site expected since June makes the totals unknown."""
    sites = [site("one", DIRECT), site("later", DIRECT)]
    opens = ExpectedDevice("lab", "n9", "GPU-9", "", "later", OCTOBER, INT64_MAX)
    facts = make_facts(tmp_path / "a", {"one": "0.5"}, sites, absent=(opens,))
    assert list(facts.sites) == ["one"]
    assert (facts.figures["co2e.location"].text, facts.figures["cost"].text) == ("200", "0.4")
    silent = ExpectedDevice("lab", "n9", "GPU-9", "", "later", JULY - 30 * DAY, INT64_MAX)
    facts = make_facts(tmp_path / "b", {"one": "0.5"}, sites, absent=(silent,))
    assert facts.figures["co2e.location"].reason == "neither a ledger nor an invoice has energy of the period of later"
    assert facts.figures["missed/01"].dims["site"] == "later"


def test_grams_of_two_quarters_are_bridged(tmp_path: Path) -> None:
    """An hour at 2 kW then and one at 4 kW now, at 100 g: 200 and 400 g, more by volume of none and all by efficiency."""
    devices = [DeviceFacts("GPU-one", "H100", 0.02, JULY - 90 * DAY)]
    drawn = ((JULY - 30 * DAY, "0.5"), (JULY, "1"), (OCTOBER, "1"))
    hours = [cells(t, "GPU-one", "w", State.ACTIVE, [kwh] * 4, 0) for t, kwh in drawn]
    chains.write(tmp_path / "segments", "lab", "one", [Batch(hours[0], devices=devices), *map(Batch, hours[1:])])
    told_by = Organisation(sites={"one": site("one", DIRECT)}, least_coverage=Fraction(0))
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites({}, "one"))
    figures = chains.facts(days, told_by, PeriodRequest("2026Q3")).figures
    then = chains.facts(days, told_by, PeriodRequest("2026Q2")).figures
    assert then["co2e.held.location"].text == "200"
    effects = {
        name: figures[f"bridge.co2e/before/{name}"].text for name in ("from", "volume", "efficiency", "pue", "grid", "to")
    }
    assert effects == {"from": "200", "volume": "0", "efficiency": "200", "pue": "0", "grid": "0", "to": "400"}
    assert figures["total.before/co2e.location"].text == "200"


def test_a_quarter_that_still_runs_is_not_compared(tmp_path: Path) -> None:
    """Its first hour would read as a fall by all but a two-thousandth."""
    devices = [DeviceFacts("GPU-one", "H100", 0.02, JULY - 90 * DAY)]
    hours = [cells(t, "GPU-one", "w", State.ACTIVE, ["0.5"] * 4, 0) for t in (JULY - 30 * DAY, JULY)]
    chains.write(tmp_path / "segments", "lab", "one", [Batch(hours[0], devices=devices), Batch(hours[1])])
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites({}, "one"))
    figures = chains.facts(days, Organisation(least_coverage=Fraction(0)), PeriodRequest("2026Q3")).figures
    for name in ("energy", "co2e", "serving"):
        assert figures[f"bridge.{name}/before"].reason == "the period has not ended, so it is not compared yet"
    assert not [name for name in figures if name.startswith("total.before/")]


def test_a_board_that_moved_to_another_site_is_one_board(tmp_path: Path) -> None:
    """An hour at one site, then one at the other: no board more, and none was missed at either."""
    devices = [DeviceFacts("GPU-1", "H100", 0.02, JULY)]
    for number, node in enumerate(("a", "b")):
        entries = cells(JULY + number * 4 * CELL, "GPU-1", "w", State.ACTIVE, ["0.5"] * 4, 0)
        chains.write(tmp_path / "segments", "lab", node, [Batch(entries, devices=devices)])
    stands = {("lab", node, ""): (DeviceLocation(site, 0, INT64_MAX),) for node, site in (("a", "one"), ("b", "two"))}
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites(stands))
    figures = chains.facts(
        days, Organisation(least_coverage=Fraction(0)), PeriodRequest(None, "2026-07-01", "2026-07-01T02:00Z")
    ).figures
    assert figures["energy.gpu/sku/H100"].dims["devices"] == "1"
    assert [figures[name].text for name in ("coverage", "coverage/site/one", "coverage/site/two")] == ["1", "1", "1"]
