"""Totals of earlier periods and of the base year, as reported and recalculated."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.compose import compose
from reports.figures.facts import Facts, build_facts
from reports.figures.gather import gather, gather_invoices
from reports.figures.measures import all_figures
from reports.figures.measures.history import restated, without_reason
from reports.inputs.organisation import Organisation, SiteInputs
from reports.language import say_in
from reports.ledger.days import DayStorage, find_days
from reports.page.section import Note, ReportTable
from reports.period import PeriodRequest
from reports.statement import ELECTRICITY, ReportedPeriod, ReportStatement
from tests.reports import chains
from tests.reports.chains import DAY
from tests.reports.golden import at, cells

JULY, OCTOBER = at("2026-07-01"), at("2026-10-01")
QUARTER = PeriodRequest("2026Q3")
TENTH_KWH = Decimal(360_000)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour each in 2025Q3 (1 kWh), 2026Q1 (3 kWh), 2026Q2 (2 kWh) and 2026Q3 (4 kWh); an hour later closes the quarter."""
    folder = tmp_path_factory.mktemp("history")
    devices = [DeviceFacts("GPU-one", "H100", 0.02, JULY - 400 * DAY)]
    drawn = ((JULY - 350 * DAY, "0.25"), (JULY - 120 * DAY, "0.75"), (JULY - 30 * DAY, "0.5"), (JULY, "1"), (OCTOBER, "1"))
    hours = [cells(t, "GPU-one", "w", State.ACTIVE, [kwh] * 4, 0) for t, kwh in drawn]
    chains.write(folder / "segments", "lab", "one", [Batch(hours[0], devices=devices), *map(Batch, hours[1:])])
    return chains.compacted(folder / "segments", folder / "days", Sites({}, "one"))


def facts(days: Path, organisation: Organisation, earlier: int = 1, asked: PeriodRequest = QUARTER) -> Facts:
    system = DayStorage(str(days))
    return chains.facts_of(*gather(system, find_days(system), organisation, asked, earlier))


def organisation(*reported: ReportedPeriod, base_year: int | None = None) -> Organisation:
    return Organisation(least_coverage=Fraction(0), statement=ReportStatement(base_year=base_year), reported=tuple(reported))


def earlier_energy(report_facts: Facts) -> dict[str, str]:
    """Energy of the GPUs by period, in kWh."""
    rows = [f for f in report_facts.by_prefix("total.period/") if f.dims.get("figure") == "energy.gpu"]
    return {f.dims["period"]: str((f.value or 0) / 3_600_000) for f in rows}


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        (1, {"2026Q2": "2"}),
        (2, {"2026Q2": "2", "2026Q1": "3"}),
        (4, {"2026Q2": "2", "2026Q1": "3", "2025Q3": "1"}),
        (8, {"2026Q2": "2", "2026Q1": "3", "2025Q3": "1"}),
    ],
)
def test_as_many_earlier_periods_as_requested_have_their_totals(days: Path, earlier: int, expected: dict[str, str]) -> None:
    report_facts = facts(days, organisation(), earlier)
    assert earlier_energy(report_facts) == expected
    if earlier > 2:
        assert report_facts.figures["total.period/2025Q4"].reason == "the ledger has no data of that period"


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("asked", "label"),
    [(PeriodRequest("2026Q3"), "2025Q3"), (PeriodRequest(month="2026-07"), "2025-07"), (PeriodRequest(year="2026"), "2025")],
)
def test_the_base_is_the_same_part_of_the_base_year(days: Path, asked: PeriodRequest, label: str) -> None:
    report_facts = facts(days, organisation(base_year=2025), 1, asked)
    assert earlier_energy(report_facts)[label] == "1"
    assert next(f.dims["role"] for f in report_facts.by_prefix(f"total.period/{label}/")) == "base"


def test_a_base_year_before_the_ledger_comes_from_the_reported_totals(days: Path) -> None:
    report_facts = facts(days, organisation(reported("2020Q3", "20"), base_year=2020))
    assert report_facts.figures["total.reported/2020Q3/energy.inventory"].text == "7200000"
    assert report_facts.figures["total.period/2020Q3"].reason == "the ledger has no data of that period"


def reported(period: str, tenths: str, reason: str = "") -> ReportedPeriod:
    """Electricity of a period as reported, in tenths of a kWh."""
    return ReportedPeriod(period, ((ELECTRICITY, Decimal(tenths) * TENTH_KWH, TENTH_KWH / 2),), "edition 1", reason)


@pytest.mark.smoke
@pytest.mark.parametrize(("tenths", "differs"), [("20", False), ("20.5", False), ("20.6", True), ("19", True)])
def test_a_total_is_restated_where_it_differs_beyond_its_last_digit(days: Path, tenths: str, differs: bool) -> None:
    """Today's ledger gives 2 kWh."""
    report_facts = facts(days, organisation(reported("2026Q2", tenths)))
    assert bool(list(restated(report_facts.figures))) is differs
    assert bool(without_reason(report_facts.figures)) is differs


def test_a_restated_period_is_printed_with_old_value_new_value_and_reason(days: Path) -> None:
    report_facts = facts(days, organisation(reported("2026Q2", "18", "a meter was read twice")))
    assert without_reason(report_facts.figures) == []
    blocks = [b for section in compose(report_facts, say_in("en")).sections for b in section.blocks]
    (table,) = (b for b in blocks if isinstance(b, ReportTable) and b.caption == "Restated earlier periods")
    assert table.rows == (("2026Q2", "Electricity", "kWh", "1.800", "2.000", "+11 %", "a meter was read twice"),)


def test_the_change_from_the_base_year_is_a_sentence(days: Path) -> None:
    report_facts = facts(days, organisation(base_year=2025))
    notes = [b.text for section in compose(report_facts, say_in("en")).sections for b in section.blocks if isinstance(b, Note)]
    assert "Change from the base year (2025Q3): Electricity +3.00 kWh (+300 %)." in notes
    unknown = facts(days, organisation(base_year=2019))
    notes = [b.text for section in compose(unknown, say_in("en")).sections for b in section.blocks if isinstance(b, Note)]
    assert "Change from the base year (2019Q3): not known, because the ledger has no data of that period." in notes
    first = facts(days, organisation(base_year=2026))
    notes = [b.text for section in compose(first, say_in("en")).sections for b in section.blocks if isinstance(b, Note)]
    assert "2026 is the base year." in notes


def test_the_change_from_a_reported_period_before_is_a_sentence_without_causes() -> None:
    """An organisation whose ledger or invoices begin with this quarter knows the one before from its own report."""
    bill = chains.bill("R", at("2026-07-01"), at("2026-10-01"), 3, 1)
    site = SiteInputs("colo", ZoneInfo("UTC"), invoices=(bill,))
    before = ReportedPeriod("2026Q2", ((ELECTRICITY, Decimal(7_200_000), Decimal(1)),), "report of July", "")
    org = Organisation(sites={"colo": site}, reported=(before,))
    evidence = gather_invoices(org, PeriodRequest("2026Q3"))
    report_facts = build_facts(evidence, all_figures(evidence), (), "0.1.0")
    notes = [b.text for section in compose(report_facts, say_in("en")).sections for b in section.blocks if isinstance(b, Note)]
    assert "Change from 2026Q2: Electricity +1.00 kWh (+50 %)." in notes
