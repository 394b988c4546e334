"""What a figure says of a PUE that somebody states: an estimate, and whose its bounds are."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.boundary import host
from energy_agent.core.energy import State
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.figures.figure import plain
from reports.inputs.organisation import Organisation, SiteInputs
from reports.language import say_in
from reports.page.section import ReportTable
from reports.page.sections.building import build
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.golden import at, cells

JULY = at("2026-07-01")


@pytest.mark.parametrize(
    ("assumed", "method"),
    [
        (True, "stated by the operator (estimate), its bounds assumed"),
        (False, "stated by the operator (estimate)"),
    ],
)
def test_assumed_pue_bounds_are_stated(tmp_path: Path, *, assumed: bool, method: str) -> None:
    """1.5 to 10 %: 1.35 to 1.65."""
    around = host("lab", "n1")
    entries = [e for d in ("GPU-1", around) for e in cells(JULY, d, "w", State.ACTIVE, ["0.3"] * 4)]
    devices = [DeviceFacts(d, "H100", 0.02, JULY) for d in ("GPU-1", around)]
    chains.write(tmp_path / "segments", "lab", "n1", [Batch(entries, devices=devices)])
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites({}, "here"))
    inputs = SiteInputs("here", ZoneInfo("UTC"), stated=(Fraction(3, 2), Fraction(1, 10)), bound_assumed=assumed)
    report_facts = chains.facts(days, Organisation(sites={"here": inputs}, least_coverage=Fraction(0)), PeriodRequest("2026Q3"))
    figure = report_facts.figures["pue/site/here"]
    assert (*map(plain, (figure.value, figure.low, figure.high)), figure.method) == ("1.5", "1.35", "1.65", method)
    assert figure.dims["kind"] == "stated"  # neither a PUE nor an iPUE
    table = next(b for b in build(report_facts, say_in("en")) if isinstance(b, ReportTable))
    assert table.rows[0][1:4] == ("1.50", "1.35 to 1.65", "stated")
    raised = replace(figure, dims=figure.dims | {"kind": "iPUE", "raised_from": "0.97"})
    table = next(
        b
        for b in build(replace(report_facts, figures=report_facts.figures | {figure.id: raised}), say_in("en"))
        if isinstance(b, ReportTable)
    )
    assert table.rows[0][1:4] == ("1.50", "1.35 to 1.65", "iPUE, measured 0.97, raised to 1")
