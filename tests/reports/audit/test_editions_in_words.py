"""Editions are counted from 1 wherever a person reads of one: the first restatement is edition 2 in all places."""

from dataclasses import replace
from pathlib import Path

from reports.compose import compose
from reports.figures.facts import ChangedInput, RestatedTotal
from reports.language import say_in
from reports.period import PeriodRequest
from reports.render.html import html
from tests.reports import ledgers
from wattlens.report.build import Options, build


def test_the_first_restatement_is_edition_2_on_page_one_and_in_its_section(tmp_path: Path) -> None:
    ledgers.write(tmp_path / "state")
    facts = build(Options(str(tmp_path / "state"), PeriodRequest("2026Q3")))
    page = html(compose(replace(facts, edition=1, restates="ab" * 32), say_in("en")))
    assert "Edition 2: it restates an earlier report of this period." in page
    assert "This is edition 2; it restates the report whose facts have the SHA-256 abab" in page
    assert "dition 1" not in page


def test_a_restated_report_lists_changed_totals_and_inputs(tmp_path: Path) -> None:
    ledgers.write(tmp_path / "state")
    facts = replace(
        build(Options(str(tmp_path / "state"), PeriodRequest("2026Q3"))),
        restatement=(RestatedTotal("energy.gpu", "J", "3600000", "7200000", True),),
        restated_inputs=(
            *(ChangedInput("day", f"fra1 2026-07-{day:02}", "statement 0 -> 1") for day in range(1, 31)),
            ChangedInput("file", "org.yaml", "removed"),
        ),
    )
    page = html(compose(facts, say_in("en")))
    for text in (
        "energy.gpu",
        "1.00 kWh",
        "2.00 kWh",
        "fra1 2026-07-30",
        "statement 0 -&gt; 1",
        "1 more are in facts.json",
    ):
        assert text in page.replace("\u202f", " "), text
    assert "org.yaml" not in page
    assert "已移除" in html(compose(replace(facts, restated_inputs=facts.restated_inputs[30:]), say_in("zh")))
