"""The committed diagrams are those that their scripts draw, and nothing in them leaves its frame."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools import architecture_picture, energy_path_picture
from tools.diagram import Diagram

PICTURES = Path(__file__).parents[2] / "docs/pictures"
DIAGRAMS = {"architecture": architecture_picture.DIAGRAM, "energy-path": energy_path_picture.DIAGRAM}


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_picture_is_fresh(name: str) -> None:
    assert (PICTURES / f"{name}.svg").read_text() == DIAGRAMS[name].draw(), "run make docs"


@pytest.mark.parametrize("diagram", DIAGRAMS.values(), ids=DIAGRAMS)
def test_it_is_well_formed_and_each_box_lies_in_one_group(diagram: Diagram) -> None:
    ElementTree.fromstring(diagram.draw())
    for box in diagram.boxes:
        around = [g for g in diagram.groups if g.x < box.x and box.x + box.width < g.x + g.width]
        assert len([g for g in around if g.y < box.y and box.y + box.height < g.y + g.height]) == 1, box.title
    assert all(g.x + g.width <= diagram.width and g.y + g.height <= diagram.height for g in diagram.groups)


@pytest.mark.parametrize("diagram", DIAGRAMS.values(), ids=DIAGRAMS)
def test_the_texts_of_a_box_fit_into_it(diagram: Diagram) -> None:
    assert [box.title for box in diagram.boxes if box.needed_width > box.width] == []


def test_the_entries_sum_to_the_interval() -> None:
    assert energy_path_picture.CHAT_UJ + energy_path_picture.CODER_UJ == energy_path_picture.ENERGY_UJ
