"""Energy of a building while a meter had no readings: the report states the imputed energy."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import Entry, Method, State, WorkloadFacts
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import Piece
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.facts import Facts
from reports.figures.figure import plain, rounded
from reports.inputs.matching import InstrumentKind, Lot, Technology
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.inputs.tariffs import HourlyPrice
from reports.language import say_in
from reports.ledger.sums import SiteWindow
from reports.page.section import Note
from reports.page.sections.quality import build
from reports.period import PeriodRequest
from reports.site.building import building
from tests.reports import chains
from tests.reports.chains import CELL, DAY, HOUR, KWH
from tests.reports.golden import DIRECT, RESIDUAL, at, cells, constant, tariff, uj

JULY = at("2026-07-01")
NOON = JULY + 12 * HOUR
MAIN = MeterFacts("main", Role.TOTAL, max_mw=10_000_000)
IT = MeterFacts("it", Role.IT, Position.UPS_OUTPUT, "main", max_mw=10_000_000)


def make_facts(folder: Path, read_until: int, it_until: int = JULY + DAY, site: SiteInputs | None = None) -> Facts:
    """A day or two in which the building draws 8 kW, its IT 4; both meters are read until then, at each quarter of an hour."""
    days = -((JULY - read_until) // DAY)
    gpu = Batch(
        cells(JULY, "GPU-1", "", State.UNALLOCATED, ["0.49"] * 96 * days, 0),
        devices=[DeviceFacts("GPU-1", "H100", 0.02, JULY)],
    )
    entries = [
        Entry(t, t + CELL, m.device("here"), "", State.UNALLOCATED, Method.COUNTER, kwh * KWH, 0, CELL)
        for m, kwh, end in ((MAIN, 2, read_until), (IT, 1, it_until))
        for t in range(JULY, end, CELL)
    ]
    declared = [WorkloadFacts(m.device("here"), JULY, METER_KIND, m.labels) for m in (MAIN, IT)]
    meters = Batch(entries, facts=declared, devices=[DeviceFacts(m.device("here"), "meter", 0, JULY) for m in (MAIN, IT)])
    chains.write(folder / "segments", "lab", "n1", [gpu])
    chains.write(folder / "segments", "lab", "site", [meters])
    compacted = chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))
    organisation = Organisation(least_coverage=Fraction(0), sites={} if site is None else {"here": site})
    return chains.facts(compacted, organisation, PeriodRequest(None, "2026-07-01", f"2026-07-0{days + 1}"))


def notes(facts: Facts) -> list[str]:
    return [b.text for b in build(facts, say_in("en")) if isinstance(b, Note) and b.text.startswith("Meters of")]


def test_imputed_energy_is_stated_with_its_total(tmp_path: Path) -> None:
    """144 kWh in 18 h are 8 kW; the six hours that were not read are put in at 48 kWh, and can have been none or 60."""
    facts = make_facts(tmp_path, JULY + 18 * HOUR, JULY + 18 * HOUR)
    for identity in ("energy.facility/site/here", "energy.facility"):
        figure = facts.figures[identity]
        assert tuple(map(plain, (figure.value, figure.low, figure.high))) == (
            "691200000",
            "518400000",
            "734400000",
        )  # 192, 144, 204 kWh
        assert (figure.method, figure.dims["imputed_j"]) == ("metered, in part imputed", "172800000")
    assert notes(facts) == [
        "Meters of here's building were not read all the time: 48.0 kWh of its 192 kWh is imputed (the mean power of the same "
        "meters: 48.00 kWh). Meters below and readings bound it; without them the bounds range from no energy in that time to "
        "the maximum that can flow."
    ]


def test_meters_below_bound_a_gap(tmp_path: Path) -> None:
    """Six hours without the main meter: 24 kWh of IT flowed through it, so 144 + 24 kWh is the least.

    The rest of the building was always 8 - 4 = 4 kW, so 24 + 24 = 48 kWh are put in, which is also the most.
    """
    facts = make_facts(tmp_path, JULY + 18 * HOUR)
    figure = facts.figures["energy.facility/site/here"]
    assert tuple(map(plain, (figure.value, figure.low, figure.high))) == tuple(str(n * 3_600_000) for n in (192, 168, 192))
    assert figure.dims["imputed_by"] == "the meters below: 48 kWh"
    it = facts.figures["energy.it/site/here"]
    assert (it.text, it.method, "imputed_j" in it.dims) == ("345600000", "metered", False)


def grid_of(**fields: object) -> SiteInputs:
    """200 g/kWh until noon UTC and 500 after, 0.10 per kWh until 18:00 and 0.30 after, a residual mix of 600 g/kWh."""
    pieces = (Piece(JULY, NOON, Decimal(200), estimated=False), Piece(NOON, JULY + DAY, Decimal(500), estimated=False))
    evening = HourlyPrice(times=["Mon-Sun 18:00-24:00"], per_kwh=Decimal("0.30"))
    return SiteInputs(
        "here", ZoneInfo("UTC"), location=(IntensitySource("hours", DIRECT, 3, pieces),), location_lacking="", grid_zone="XA",
        residual=(constant("mix", RESIDUAL, 600),), residual_lacking="", tariffs=tariff("0.10", evening), **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def lot(kind: InstrumentKind, start: int, end: int, kwh: str, grams: int, *, timed: bool = False) -> Lot:
    return Lot(kind.value, kind, "XA", Technology.WIND, Decimal(grams), start, end, uj(kwh), timed=timed)


def test_a_gap_takes_the_intensity_and_price_of_its_own_hours(tmp_path: Path) -> None:
    """The gap is from 18:00 to 24:00, 48 kWh at 500 g and 0.30.

    96 kWh x 200 g + 48 x 500 + 48 x 500 = 67,200 g, not 192 x 43,200 / 144 = 57,600. 144 x 0.10 + 48 x 0.30 = 28.80, not 19.20.
    CUE is 67.2 kg over 96 kWh of IT.
    """
    figures = make_facts(tmp_path, JULY + 18 * HOUR, site=grid_of()).figures
    assert figures["co2e.location/site/here"].value == 96 * 200 + 96 * 500
    assert figures["cost/site/here"].value == Fraction("28.80")
    assert figures["cue/site/here"].value == Fraction("67.2") / 96
    assert figures["grid_intensity/site/here"].value == 350


def test_contracts_cover_a_gap_in_its_own_hours_and_all_levels_sum_to_the_meter(tmp_path: Path) -> None:
    """Wind delivers 60 kWh from 18:00 to 24:00 at 10 g, when 48 are imputed; certificates cover 100 of the 144 that are left.

    48 x 10 + 100 x 0 + 44 x 600 = 26,880 g. REF = 148 / 192.
    """
    evening, day = (JULY + 18 * HOUR, JULY + DAY), (JULY, JULY + DAY)
    lots = (lot(InstrumentKind.PPA, *evening, "60", 10), lot(InstrumentKind.GO, *day, "100", 0))
    figures = make_facts(tmp_path, JULY + 18 * HOUR, site=grid_of(lots=lots)).figures
    market = figures["co2e.market/site/here"]
    assert market.value == 48 * 10 + 44 * 600
    assert market.dims["levels"] == "certificates: 100 kWh; contracts: 48 kWh; residual mix: 44 kWh"
    assert figures["contract/here/ppa"].text == "48"
    assert figures["contract/here/ppa"].dims["unused: more than was consumed in its period"] == "12"
    assert figures["matched.as_bought/site/here"].value == rounded(Fraction(148, 192))
    assert figures["ref/site/here"].value == rounded(Fraction(148, 192))


def test_the_draft_revision_contains_imputed_energy(tmp_path: Path) -> None:
    """Wind delivers 8 kWh in each of the last six hours, which are imputed: 48 x 10 + 144 x 600 g."""
    evening = [lot(InstrumentKind.PPA, t, t + HOUR, "8", 10, timed=True) for t in range(JULY + 18 * HOUR, JULY + DAY, HOUR)]
    figures = make_facts(tmp_path, JULY + 18 * HOUR, site=grid_of(lots=tuple(evening), with_revision=True)).figures
    assert figures["draft_revision.market/site/here"].value == 48 * 10 + 144 * 600
    assert figures["co2e.market/site/here"].value == 48 * 10 + 144 * 600


def test_readings_of_the_supply_meter_bridge_a_gap(tmp_path: Path) -> None:
    """From midnight to midnight the register shows 190 kWh, of which 144 were metered: 46 kWh, without any bound of IT."""
    read = (chains.reading("Z1", JULY, JULY + DAY, 190),)
    facts = make_facts(tmp_path, JULY + 18 * HOUR, JULY + 18 * HOUR, grid_of(readings=read))
    figure = facts.figures["energy.facility/site/here"]
    assert tuple(map(plain, (figure.value, figure.low, figure.high))) == (str(190 * 3_600_000),) * 3
    assert figure.dims["imputed_by"] == "readings of the supply meters: 46 kWh"
    assert facts.figures["co2e.location/site/here"].value == 96 * 200 + (48 + 46) * 500


def test_readings_that_contradict_the_meters_are_not_used(tmp_path: Path) -> None:
    """160 kWh leave 16 for six hours in which 24 kWh of IT were metered below."""
    read = (chains.reading("Z1", JULY, JULY + DAY, 160),)
    facts = make_facts(tmp_path, JULY + 18 * HOUR, site=grid_of(readings=read))
    assert facts.figures["energy.facility/site/here"].dims["imputed_by"] == "the meters below: 48 kWh"


def test_each_invoice_is_compared_with_the_gaps_of_its_own_time(tmp_path: Path) -> None:
    """The first day has 24 x 8 = 192 kWh, all read; of the second 144 were read, and the gap of 48 can have been 0 to 60.

    So an invoice of 96 kWh is a finding of exactly 100 % for the first, and of 144 / 96 - 1 to 204 / 96 - 1 for the second.
    """
    until = JULY + DAY + 18 * HOUR
    spans = {"a": (JULY, JULY + DAY), "b": (JULY + DAY, JULY + 2 * DAY)}
    bills = tuple(chains.bill(name, *span, 96, 0) for name, span in spans.items())
    facts = make_facts(tmp_path, until, until, grid_of(invoices=bills))
    first, second = (f.dims for f in facts.by_prefix("reconciliation/here/"))
    assert (first["invoices"], first["ledger_j"], first["ledger_state"]) == ("a", str(192 * 3_600_000), "finding")
    assert [first[f"ledger_variance{end}"] for end in ("", "_low", "_high")] == ["1", "1", "1"]
    assert [second[f"ledger_variance{end}"] for end in ("", "_low", "_high")] == ["1", "0.5", "1.125"]


def test_what_was_read_all_the_time_is_metered_alone(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, JULY + DAY)
    figure = facts.figures["energy.facility/site/here"]
    assert (figure.text, figure.method, dict(figure.dims)) == ("691200000", "metered", {"site": "here"})
    assert notes(facts) == []


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (None, "the ledger has no meter of the building, and no PUE is stated"),
        ((Fraction(3, 2), Fraction(0)), "the ledger has no meter of the building"),
    ],
)
def test_reason_does_not_claim_a_missing_pue_when_one_is_stated(stated: tuple[Fraction, Fraction] | None, reason: str) -> None:
    building_energy = building(
        "here", SiteWindow(JULY, JULY + DAY), None, SiteInputs("here", ZoneInfo("UTC"), stated=stated), 7
    )
    assert building_energy.total.reason == building_energy.it.reason == building_energy.bought.reason == reason


def test_the_inventory_may_list_the_site_s_process(tmp_path: Path) -> None:
    """One GPU that was metered all day: coverage 1 with and without the row that enrols the key of the site's process."""
    make_facts(tmp_path, JULY + DAY)
    rows = [ExpectedDevice("lab", node, "", "", "here", 0, INT64_MAX) for node in ("n1", "here")]
    asked = PeriodRequest(None, "2026-07-01", "2026-07-02")
    for expected in (rows[:1], rows):
        coverage = chains.evidence(tmp_path / "days", Organisation(expected=tuple(expected)), asked)[0].covered["here"]
        assert (coverage.share, coverage.missed, coverage.listed) == (Fraction(1), (), True)
