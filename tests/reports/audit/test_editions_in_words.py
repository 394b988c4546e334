"""Editions are counted from 1 wherever a person reads of one: the first restatement is edition 2 in all places."""

from dataclasses import replace
from pathlib import Path

from reports.compose import compose
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
