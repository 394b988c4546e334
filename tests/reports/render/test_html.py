"""The page: self-contained, labelled, complete, and safe against hostile names."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest

from energy_agent.core.types import Method, State, WorkloadFacts
from energy_agent.factors.countries import country_factor
from energy_agent.ledger.rows import Cell
from energy_agent.ledger.uncertainty import Run
from reports.facts import Facts, build_facts
from reports.period import Period
from reports.reading import read_ledger
from reports.render.facts_json import facts_json
from reports.render.html import hidden_sections, page
from reports.savings import Savings
from reports.sums import Sums
from tests.reports import ledgers

VOID = {"meta", "br", "line", "rect", "circle", "path"}


class Outline(HTMLParser):
    """Tags, attributes and text, with a check that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    state = tmp_path_factory.mktemp("ledger")
    ledgers.write(state)
    saved = Savings(Fraction(512), Fraction(300), Fraction(700), None, "paired")
    return build_facts(read_ledger(state, Period()), country_factor("DEU"), saved)


def test_the_page_is_whole_and_fetches_nothing(facts: Facts) -> None:
    text = page(facts)
    outline = Outline(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not [v for k, v in outline.attributes if k.startswith("on") or k in ("href", "src")]
    assert ("lang", "en") in outline.attributes
    assert outline.tags.count("caption") == outline.tags.count("table") > 0


def test_interim_and_simulated_are_marked_in_words(facts: Facts) -> None:
    text = " ".join(Outline(page(facts)).text)
    assert "INTERIM" in text
    assert "SIMULATED" in text


def test_real_hardware_is_not_called_simulated(tmp_path: Path) -> None:
    ledgers.write(tmp_path, simulated=False)
    text = page(build_facts(read_ledger(tmp_path, Period())))
    assert "INTERIM" in text
    assert "SIMULATED" not in text.upper()


def test_every_tile_leads_to_a_fact(facts: Facts) -> None:
    wanted = [v for k, v in Outline(page(facts)).attributes if k == "data-figure"]
    assert len(wanted) == 6
    assert set(wanted) <= set(facts.figures)


def test_sections_without_input_are_hidden_and_listed(tmp_path: Path) -> None:
    ledgers.write(tmp_path)
    bare = build_facts(read_ledger(tmp_path, Period()))
    assert hidden_sections(bare) == {"Carbon": "no country given"}
    text = " ".join(Outline(page(bare)).text)
    assert "Carbon (no country given)" in text
    assert "Grid factor" not in text


def test_hostile_names_stay_text() -> None:
    sums, evil = Sums(), '<script>alert("x")</script>{{ 7*7 }}'
    sums.add(Cell(0, "GPU-1", evil, State.ACTIVE, Method.COUNTER, 5_000_000, 1, Run(0, 1000, 0, 0, 0)), evil)
    sums.add(WorkloadFacts(evil, 0, "pod", {"name": evil}), evil)
    facts = build_facts(sums)
    outline = Outline(page(facts))
    assert "script" not in outline.tags
    assert "49" not in page(facts)
    assert json.loads(facts_json(facts, {}))["workloads"] == {evil: evil}


def test_an_empty_period_still_renders() -> None:
    sums = Sums()
    sums.add(Cell(0, "GPU-1", "", State.UNHELD, Method.COUNTER, 0, 1, Run(0, 0, 0, 0, 0)), "n")
    text = " ".join(Outline(page(build_facts(sums))).text)
    assert "not known" in text
    assert "nan" not in text.lower()


def test_the_same_bytes_whatever_the_hash_seed(tmp_path: Path, facts: Facts) -> None:
    ledgers.write(tmp_path)
    program = (
        "import sys; from pathlib import Path; from reports.facts import build_facts; from reports.period import Period;"
        "from reports.reading import read_ledger; from reports.render import facts_json, html;"
        "f = build_facts(read_ledger(Path(sys.argv[1]), Period()));"
        "sys.stdout.write(facts_json.facts_json(f, html.hidden_sections(f)) + html.page(f))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone},
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Kolkata"))
    }
    assert len(texts) == 1


def test_the_facts_document_is_canonical(facts: Facts) -> None:
    text = facts_json(facts, {"Carbon": "why"})
    document = json.loads(text)
    assert text == json.dumps(document, sort_keys=True, indent=1) + "\n"
    assert document["schema"] == "wattlens.report.facts/1"
    assert document["simulated"] is True
    assert document["conservation"]["holds"] is True
    for figure in document["figures"]:
        assert (figure["value"] is None) == (figure["reason"] is not None)
        assert {"id", "value", "unit", "method", "boundary", "coverage", "low", "high", "sources", "factor_ids"} <= set(figure)
        assert not [v for v in figure.values() if isinstance(v, float)]
