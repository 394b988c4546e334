"""The committed picture of the architecture is the one that its script draws, and nothing in it leaves the frame."""

from pathlib import Path
from xml.etree import ElementTree

from tools.architecture_picture import BOXES, GROUPS, HEIGHT, WIDTH, draw

PICTURE = Path(__file__).parents[2] / "docs/pictures/architecture.svg"


def test_the_picture_is_fresh() -> None:
    assert PICTURE.read_text() == draw(), "run make docs"


def test_it_is_well_formed_and_each_box_lies_in_one_group() -> None:
    ElementTree.fromstring(draw())
    for box in BOXES:
        around = [g for g in GROUPS if g[0] < box.x and box.x + box.width < g[0] + g[2]]
        assert len([g for g in around if g[1] < box.y and box.y + box.height < g[1] + g[3]]) == 1, box.title
    assert all(x + width <= WIDTH and y + height <= HEIGHT for x, y, width, height, _ in GROUPS)
