"""What a file says is shown as it is, and what could not be seen or would turn words around is spelled out."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from reports.page.section import Lines, Tile, Tiles
from reports.render.charts.legible import legible, over_texts


def test_ordinary_names_stay() -> None:
    for name in ("team-a", "Größe", "北京实验室", "النص", "हिन्दी", "a\u202f000 kWh", "CO₂e ± 3 %", "👩\u200d🔬"):
        assert legible(name) == name


def test_what_cannot_be_seen_is_spelled_out() -> None:
    assert legible("a\x00b") == "a[U+0000]b"
    assert legible("evil\u202egnp.exe") == "evil[U+202E]gnp.exe"
    assert legible("two\nlines\tand a tab") == "two lines and a tab"
    assert legible("zero\u200bwidth") == "zero[U+200B]width"
    assert legible("heart ❤\ufe0f") == "heart ❤"
    assert legible("\udcff") == "[U+DCFF]"


@given(st.text())
def test_it_is_safe_to_encode_and_settles_at_once(text: str) -> None:
    output = legible(text)
    assert output.encode().decode() == output
    assert not [c for c in output if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")]
    assert legible(output) == output


def test_texts_are_changed_wherever_they_stand_and_no_series_is_lost() -> None:
    tiles = Tiles((Tile("a", "b", "c", "d", "e"),))
    assert over_texts(tiles, str.upper) == Tiles((Tile("A", "B", "C", "D", "E"),))
    lines = Lines("t", "u", ("p",), {"x\n": (None,), "x ": (None,)})
    assert len(over_texts(lines, legible).series) == 2
