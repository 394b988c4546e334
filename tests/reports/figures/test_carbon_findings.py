"""CO2e where a PUE is stated: contracts match the building's energy, and what they bring and the rest are the total.

Energies are in kWh. At `here`, in the first hour of the quarter, a GPU draws 4 x 0.3 and the rest of its node 4 x 0.1: 1.6,
times the stated PUE of 1.5 it is 2.4. The grid has 400 g/kWh, its residual mix 600, and a kWh costs 0.20.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.boundary import host
from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import STAND_IN, Figure
from reports.figures.measures import all_figures, carbon
from reports.figures.measures.building import STATED_PUE
from reports.figures.uncertainty import FACTOR_ERROR
from reports.inputs.matching import InstrumentKind, Lot, Technology
from reports.inputs.organisation import Organisation, SiteInputs
from reports.period import PeriodRequest
from reports.site.grid import grid, times
from tests.reports import chains
from tests.reports.chains import HOUR
from tests.reports.figures import test_totals
from tests.reports.golden import DIRECT, RESIDUAL, at, cells, constant, tariff, uj

JULY = at("2026-07-01")


def lot(contract: str, kind: InstrumentKind, technology: Technology, kwh: str, grams: int) -> Lot:
    return Lot(contract, kind, "XA", technology, Decimal(grams), JULY, JULY + HOUR, uj(kwh), timed=True)


WIND = lot("wind", InstrumentKind.PPA, Technology.WIND, "2", 10)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    around = host("lab", "n1")
    entries = cells(JULY, "GPU-1", "w", State.ACTIVE, ["0.3"] * 4) + cells(JULY, around, "w", State.ACTIVE, ["0.1"] * 4, 0)
    devices = [DeviceFacts(device, "H100", 0.02, JULY) for device in ("GPU-1", around)]
    who = [WorkloadFacts("w", JULY, "pod", {"team": "red"})]
    chains.write(folder / "segments", "lab", "n1", [Batch(entries, devices=devices, facts=who)])
    return chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))


def evidence(days: Path, *lots: Lot, pue: str | None = "1.5") -> PeriodEvidence:
    inputs = SiteInputs(
        "here", ZoneInfo("UTC"), stated=None if pue is None else (Fraction(pue), Fraction(0)), grid_zone="XA", lots=lots,
        location=(constant("of.grid", DIRECT, 400),), location_lacking="", residual=(constant("of.rest", RESIDUAL, 600),),
        residual_lacking="", tariffs=tariff("0.20"),
    )  # fmt: skip
    organisation = Organisation(sites={"here": inputs}, least_coverage=Fraction(0))
    return chains.evidence(days, organisation, PeriodRequest("2026Q3"))[0]


def with_lots(period_evidence: PeriodEvidence, lots: tuple[Lot, ...], pue: Fraction) -> PeriodEvidence:
    """What would have been found with these lots, which nothing but the grid depends on."""
    site = period_evidence.sites["here"]
    assert site.inputs is not None
    inputs = replace(site.inputs, lots=lots)
    drawn = times({t: gpu + rest for t, (gpu, rest) in period_evidence.sums.cells["here"].items()}, pue)
    return replace(period_evidence, sites={"here": replace(site, inputs=inputs, grid=grid(inputs, drawn, site.window))})


def figures(period_evidence: PeriodEvidence) -> dict[str, Figure]:
    return {f.id: f for f in all_figures(period_evidence)}


def values(by_id: dict[str, Figure], *names: str) -> list[str | None]:
    return [by_id[f"{name}/site/here"].text for name in names]


def test_contracts_match_the_building_of_a_stated_pue(days: Path) -> None:
    """2 of 2.4 are covered, at 10 g, and 0.4 is of the residual mix: 20 + 240 g. Location-based 2.4 x 400, money 2.4 x 0.20.

    Matched with the node's 1.6 alone, nothing would have been left of the residual mix.
    """
    by_id = figures(evidence(days, WIND))
    assert values(by_id, "co2e.market", "co2e.market.instruments", "co2e.market.residual") == ["260", "20", "240"]
    assert values(by_id, "co2e.location", "grid_intensity", "cost") == ["960", "400", "0.48"]
    assert values(by_id, "ref", "matched.as_bought", "matched.hourly") == ["0.833333333"] * 3
    assert by_id["contract/here/wind"].text == "2"
    of = (
        "co2e.market",
        "co2e.market.instruments",
        "co2e.market.residual",
        "ref",
        "matched.as_bought",
        "energy.total_renewable",
    )
    assert {by_id[f"{name}/site/here"].boundary for name in of} == {"facility"}
    # All of it was held by one team: once times the PUE.
    assert by_id["co2e.held.location/team/red"].text == "960"
    assert by_id["co2e.held.market/team/red"].text == "260"
    assert by_id["cost/team/red"].text == "0.48"


def test_emissions_of_a_stated_pue_are_an_estimate(days: Path) -> None:
    """All of 960 g follows from the stated PUE; market-based, 240 g of the residual mix, without the contract's 20 g."""
    by_id, without = figures(evidence(days, WIND)), figures(evidence(days, WIND, pue=None))
    for suffix in ("/site/here", ""):
        located, marketed = by_id[f"co2e.location{suffix}"], by_id[f"co2e.market{suffix}"]
        assert located.dims[STAND_IN] == marketed.dims[STAND_IN] == STATED_PUE
        assert (located.estimated, round(marketed.estimated, 6)) == (960, 240)
        # Nodes alone are metered, and are no estimate.
        assert STAND_IN not in without[f"co2e.location{suffix}"].dims
        assert without[f"co2e.location{suffix}"].estimated == 0


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("change", "share"),
    [
        ({}, "0.833333333"),
        ({"timed": False}, None),  # a volume that was spread evenly over the hours
        ({"technology": Technology.FOSSIL}, None),
        ({"technology": Technology.MIXED}, None),
        ({"technology": Technology.NUCLEAR}, "0.833333333"),
        ({"end_ns": JULY + 31 * 24 * HOUR}, None),  # a month
    ],
)
def test_only_clean_deliveries_with_time_stamps_are_matched_by_the_hour(days: Path, change: dict, share: str | None) -> None:
    by_id = figures(evidence(days, replace(WIND, **change)))
    matched = by_id["matched.hourly/site/here"]
    assert (matched.text or None) == share
    assert share or matched.reason == "no contract has deliveries of clean electricity with time stamps"
    assert by_id["matched.as_bought/site/here"].value
    # An hour is longer than a quarter of an hour.
    assert "by the quarter of an hour" in (by_id["matched.quarter_hourly/site/here"].reason or "")
    by_quarter = figures(evidence(days, replace(WIND, end_ns=JULY + HOUR // 4)))["matched.quarter_hourly/site/here"]
    assert by_quarter.text == "0.25"  # of four equal quarters one is covered


def test_without_a_pue_contracts_match_the_node(days: Path) -> None:
    """All of 1.6 is covered, 16 g; 0.4 of the contract is too much."""
    by_id = figures(evidence(days, WIND, pue=None))
    assert values(by_id, "co2e.market", "co2e.market.residual", "ref", "co2e.location") == ["16", "0", "1", "640"]
    assert by_id["contract/here/wind"].dims["unused: more than was consumed in its period"] == "0.4"
    assert by_id["ref/site/here"].boundary == "node"


@pytest.mark.parametrize("pue", ["1.52", "1.3333333", "1.0000001", None])
def test_what_contracts_bring_and_the_rest_are_the_total_exactly(days: Path, pue: str | None) -> None:
    without = evidence(days, pue=pue)
    for lots in ((), (WIND,), (replace(WIND, uj=uj("1")),), (replace(WIND, uj=uj("9")),)):
        period_evidence = with_lots(without, lots, Fraction(pue or 1))
        market, rest = carbon.marketed_of(period_evidence, "here"), carbon.residual_of(period_evidence, "here")
        coverage = period_evidence.sites["here"].grid.coverage
        assert coverage is not None
        assert market.value is not None
        assert rest.value is not None
        assert rest.value + coverage.grams == market.value
        energy = Fraction("1.6") * Fraction(pue or 1)
        covered = min(Fraction(sum((each.uj for each in lots), 0), uj(1)), energy)
        # Cells are whole uJ: less than one of the sum is taken for covered or not.
        assert abs(market.value - (covered * 10 + (energy - covered) * 600)) <= Fraction(600, uj(1))


def test_renewable_energy_is_what_ref_counts(days: Path) -> None:
    """1 by the agreement, 0.5 by guarantees, 0.25 by a contract of another kind; nuclear power does not count: 1.75 of 2.4."""
    by_id = figures(
        evidence(
            days,
            lot("a", InstrumentKind.PPA, Technology.WIND, "1", 0),
            lot("b", InstrumentKind.GO, Technology.SOLAR, "0.5", 0),
            lot("c", InstrumentKind.OTHER, Technology.HYDRO, "0.25", 0),
            lot("d", InstrumentKind.OTHER, Technology.NUCLEAR, "0.25", 0),
        )
    )
    kinds = [f"energy.total_renewable{kind}" for kind in ("", ".ppa", ".certificates", ".other")]
    assert values(by_id, *kinds) == [str(n) for n in (6_300_000, 3_600_000, 1_800_000, 900_000)]
    assert by_id["energy.total_renewable/site/here"].text == str(int(Fraction(7, 4) * 3_600_000))
    assert values(by_id, "ref", "energy.facility") == [golden_nine(Fraction("1.75") / Fraction("2.4")), "8640000"]


def golden_nine(exact: Fraction) -> str:
    return f"{round(exact, 9).numerator / round(exact, 9).denominator:.9f}"


def test_a_group_names_the_factors_of_its_own_sites(tmp_path: Path) -> None:
    sites = [test_totals.site("one", DIRECT), test_totals.site("two", DIRECT, 300)]
    by_id = test_totals.make_facts(tmp_path, {"one": "0.5", "two": "0.25"}, sites).figures
    for quantity in ("co2e.held.location", "co2e.held.market"):
        assert by_id[f"{quantity}/site/one"].factor_ids == ("of.one",)
        assert by_id[f"{quantity}/site/two"].factor_ids == ("of.two",)
        assert by_id[quantity].factor_ids == ("of.one", "of.two")


@given(
    st.dictionaries(st.integers(0, 9000), st.integers(0, 10**15), max_size=20),
    st.fractions(Fraction(1), Fraction(5), max_denominator=10**7),
)
def test_cells_times_a_pue(energies: dict[int, int], pue: Fraction) -> None:
    facility_uj = times(energies, pue)
    assert facility_uj.keys() == energies.keys()
    assert 0 <= sum(energies.values()) * pue - sum(facility_uj.values()) < 1
    for t, energy in energies.items():
        assert abs(facility_uj[t] - energy * pue) < 2


@pytest.mark.parametrize("error", [None, Fraction(0), Fraction(3, 10)])
def test_co2e_has_the_errors_of_its_energy_and_of_its_factor(days: Path, error: Fraction | None) -> None:
    """(high - value)^2 = (energy's half x g/kWh)^2 + (value x factor's error)^2, for the site, the total and the team."""
    period_evidence = evidence(days)
    site = period_evidence.sites["here"]
    assert site.inputs is not None
    period_evidence = replace(period_evidence, sites={"here": replace(site, inputs=replace(site.inputs, factor_error=error))})
    energy, by_id = carbon.base(period_evidence, "here"), figures(period_evidence)
    assert energy.value
    assert energy.high is not None
    assumed = FACTOR_ERROR[site.inputs.location[0].quality]
    relative = assumed if error is None else error
    for identity in ("co2e.location/site/here", "co2e.location", "co2e.held.location/team/red"):
        figure = by_id[identity]
        assert figure.value is not None
        assert figure.high is not None
        wanted = ((energy.high - energy.value) / energy.value) ** 2 + relative**2
        assert abs(((figure.high - figure.value) / figure.value) ** 2 - wanted) <= wanted / 10**4 + Fraction(1, 10**12)
    market = by_id["co2e.market/site/here"]
    assert market.high is not None
    assert market.low is not None
    assert market.value is not None
    assert market.low <= market.value <= market.high
