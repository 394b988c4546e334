"""Energy of a building while a meter had no readings: the report states the imputed energy."""

from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import Entry, Method, State, WorkloadFacts
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.facts import Facts
from reports.figures.figure import plain
from reports.inputs import ExpectedDevice, Organisation, SiteInputs
from reports.language import say_in
from reports.ledger.sums import SiteWindow
from reports.page.section import Note
from reports.page.sections.quality import build
from reports.period import PeriodRequest
from reports.site.building import building
from tests.reports import chains
from tests.reports.chains import CELL, DAY, HOUR, KWH
from tests.reports.golden import at, cells

JULY = at("2026-07-01")
MAIN = MeterFacts("main", Role.TOTAL, max_mw=10_000_000)
IT = MeterFacts("it", Role.IT, Position.UPS_OUTPUT, "main", max_mw=10_000_000)


def make_facts(folder: Path, read_until: int) -> Facts:
    """A day in which the building draws 8 kW, its IT 4; the main meter is read until then, at each quarter of an hour."""
    gpu = Batch(
        cells(JULY, "GPU-1", "", State.UNALLOCATED, ["0.49"] * 96, 0), devices=[DeviceFacts("GPU-1", "H100", 0.02, JULY)]
    )
    entries = [
        Entry(t, t + CELL, m.device("here"), "", State.UNALLOCATED, Method.COUNTER, kwh * KWH, 0, CELL)
        for m, kwh, end in ((MAIN, 2, read_until), (IT, 1, JULY + DAY))
        for t in range(JULY, end, CELL)
    ]
    told = [WorkloadFacts(m.device("here"), JULY, METER_KIND, m.labels) for m in (MAIN, IT)]
    meters = Batch(entries, facts=told, devices=[DeviceFacts(m.device("here"), "meter", 0, JULY) for m in (MAIN, IT)])
    chains.write(folder / "segments", "lab", "n1", [gpu])
    chains.write(folder / "segments", "lab", "site", [meters])
    days = chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))
    return chains.facts(days, Organisation(least_coverage=Fraction(0)), PeriodRequest(None, "2026-07-01", "2026-07-02"))


def notes(facts: Facts) -> list[str]:
    return [b.text for b in build(facts, say_in("en")) if isinstance(b, Note) and b.text.startswith("Meters of")]


def test_what_was_not_read_is_told_with_the_sum_that_it_is_in(tmp_path: Path) -> None:
    """144 kWh in 18 h are 8 kW; the six hours that were not read are put in at 48 kWh, and can have been none or 60."""
    facts = make_facts(tmp_path, JULY + 18 * HOUR)
    for identity in ("energy.facility/site/here", "energy.facility"):
        figure = facts.figures[identity]
        assert tuple(map(plain, (figure.value, figure.low, figure.high))) == (
            "691200000",
            "518400000",
            "734400000",
        )  # 192, 144, 204 kWh
        assert (figure.method, figure.dims["imputed_j"]) == ("metered, in part imputed", "172800000")
    it = facts.figures["energy.it/site/here"]
    assert (it.text, it.method, "imputed_j" in it.dims) == ("345600000", "metered", False)
    assert notes(facts) == [
        "Meters of here's building were not read all the time: 48.0 kWh of its 192 kWh is imputed at the mean power of the "
        "same meters. The bounds range from no energy in that time to the maximum that can flow."
    ]


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
def test_no_reason_says_that_no_pue_is_stated_where_one_is(stated: tuple[Fraction, Fraction] | None, reason: str) -> None:
    found = building("here", SiteWindow(JULY, JULY + DAY), None, SiteInputs("here", ZoneInfo("UTC"), stated=stated), 7)
    assert found.total.reason == found.it.reason == found.bought.reason == reason


def test_the_inventory_may_list_the_site_s_process(tmp_path: Path) -> None:
    """One GPU that was metered all day: coverage 1 with and without the row that enrols the key of the site's process."""
    make_facts(tmp_path, JULY + DAY)
    rows = [ExpectedDevice("lab", node, "", "", "here", 0, INT64_MAX) for node in ("n1", "here")]
    asked = PeriodRequest(None, "2026-07-01", "2026-07-02")
    for expected in (rows[:1], rows):
        found = chains.evidence(tmp_path / "days", Organisation(expected=tuple(expected)), asked)[0].covered["here"]
        assert (found.share, found.missed, found.listed) == (Fraction(1), (), True)
