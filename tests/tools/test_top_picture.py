"""The picture of the screen: well-formed, with every text of the terminal at its place and none of its escape sequences."""

import xml.etree.ElementTree as ElementTree

from tools.top_picture import CELL_H, CELL_W, MARGIN, SvgScreen

SVG = "{http://www.w3.org/2000/svg}"


def test_a_terminal_as_svg_has_its_texts_blocks_and_colours() -> None:
    lines = ["\x1b[7mtitle <&>   \x1b[0m", "ab  \x1b[1;31mred\x1b[0m ▁█ ━╸─", "\x1b[4m  x \x1b[32m", "green goes on"]
    picture = ElementTree.fromstring(SvgScreen(20, lines).draw("a & b"))
    texts = {text.text: text for text in picture.iter(f"{SVG}text")}
    assert set(texts) == {"a & b", "title <&>", "ab", "red", "x", "green goes on"}
    assert float(texts["red"].attrib["x"]) == round(MARGIN + 4 * CELL_W, 1)
    assert texts["red"].attrib["fill"] != texts["ab"].attrib["fill"]
    assert texts["green goes on"].attrib["fill"] not in (texts["ab"].attrib["fill"], texts["red"].attrib["fill"])
    heights = [float(r.attrib["height"]) for r in picture.iter(f"{SVG}rect") if r.attrib["width"] == f"{CELL_W:.1f}"]
    assert {round(CELL_H / 8, 1), CELL_H} <= set(heights)  # an eighth and a whole block
