"""The page of methods: its frameworks are those of the data, its links lead somewhere, its examples are what the code gives."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from energy_agent.factors.embodied import amortised, embodied_range
from reports.figures.bridge import EFFICIENCY, VOLUME, Side, node_bridge
from reports.frameworks.datapoints import frameworks

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "report-methods.md").read_text(encoding="utf-8")


def test_its_frameworks_are_those_of_the_data() -> None:
    table = PAGE.partition("| framework | edition | state |")[2].partition("\n\n")[0].splitlines()[2:]
    assert sorted(table) == sorted(f"| {f.title} | {f.edition} | {f.state} |" for f in frameworks())


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links
    for link in links:
        assert (DOCS / link).is_file(), link


def test_its_examples_are_what_the_code_gives() -> None:
    board = embodied_range("NVIDIA H100 80GB HBM3")
    assert board is not None
    hour = amortised(replace(board, life_years=(Fraction(4), Fraction(4))), 3600 * 10**9)
    assert hour.low_g is not None
    assert hour.high_g is not None
    assert f"= {float(hour.low_g):.1f} g to 575,100 / 35,040 = {float(hour.high_g):.1f} g" in PAGE
    change = node_bridge(Side({"": 100}, {"": 200}), Side({"": 150}, {"": 150}))
    effects = dict(change.effects)
    assert f"the mean of 50 x 2 and 50 x 1, +{effects[VOLUME]}." in PAGE
    assert re.search(rf"100 x -1 and 150 x -1, {effects[EFFICIENCY]}\. Together -50", PAGE)
