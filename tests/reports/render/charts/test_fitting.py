"""Texts fit: estimates are not below the true widths of DejaVu Sans, and what is shortened keeps its beginning and its end."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.render.charts.fitting import ems, pieces, shorten, wrap

matplotlib = pytest.importorskip("matplotlib")
ALPHABET = [
    chr(c) for c in (*range(32, 127), *range(0xA1, 0x17F), *range(0x391, 0x3CA), *range(0x400, 0x460)) if c not in (0xAD, 0x3A2)
]
TEXTS = st.text(st.sampled_from([*ALPHABET, "中", "文", "…", "−", "₂"]), max_size=120)


@cache
def advances() -> dict[int, float]:
    """True widths of letters in units of the size, from the tables of the font that matplotlib brings."""
    from fontTools.ttLib import TTFont
    from matplotlib.font_manager import FontProperties, findfont

    with TTFont(findfont(FontProperties(family="DejaVu Sans"))) as font:
        unit, widths = font["head"].unitsPerEm, font["hmtx"].metrics
        return {code: widths[name][0] / unit for code, name in font.getBestCmap().items()}


def width(text: str) -> float:
    """True width; Chinese letters, which DejaVu lacks, are one unit wide in every font."""
    return sum(1.0 if c > "\u2e7f" else advances()[ord(c)] for c in text)


def test_no_letter_is_much_wider_than_estimated() -> None:
    wider = {letter: width(letter) / ems(letter) for letter in ALPHABET}
    assert {letter: ratio for letter, ratio in wider.items() if ratio > 1.15} == {}


@pytest.mark.parametrize(
    "text",
    ["platform-engineering-and-shared-inference", "GPU, held by nobody", "12 345.6 kWh, 40.0 %", "0.41 (0.38 to 0.45)", "CO₂e",
     "−830 t", "HOST (CPU, MEMORY)", "Größe überall", "Энергия по командам", "自然语言处理"],
)  # fmt: skip
def test_a_text_is_not_longer_than_estimated_nor_much_shorter(text: str) -> None:
    assert 0.7 * ems(text) < width(text) <= ems(text)


@given(TEXTS, st.integers(20, 400))
def test_a_shortened_text_fits_and_keeps_both_ends(text: str, room: int) -> None:
    short = shorten(text, 12, room)
    assert ems(short) * 12 <= room
    if short != text:
        dots = [at for at, letter in enumerate(short) if letter == "…"]  # the text may have some of its own
        assert any(text.startswith(short[:at]) and text.endswith(short[at + 1 :]) for at in dots)


@given(TEXTS, st.integers(30, 400), st.integers(1, 4))
def test_wrapped_lines_fit_and_lose_nothing_where_there_is_room(text: str, room: int, most: int) -> None:
    lines = wrap(text, 12, room, most)
    assert 1 <= len(lines) <= most
    assert all(ems(line) * 12 <= room for line in lines)
    if not any("…" in line for line in lines):
        assert "".join("".join(lines).split()) == "".join(text.split())


def test_pieces_of_a_name_are_its_parts_and_the_letters_of_an_endless_word() -> None:
    assert pieces("team-a/run_2.x") == ["team-", "a/", "run_", "2.", "x"]
    assert pieces("two words stay") == ["two words stay"]
    assert pieces("sha-0123456789abcdef") == ["sha-", *"0123456789abcdef"]
    assert pieces("") == [""]


def test_no_line_breaks_within_a_number() -> None:
    assert pieces("solar-park 3.589; wind-go 4.000") == ["solar-", "park 3.589; wind-", "go 4.000"]
    assert pieces("08:30") == ["08:30"]
    for room in range(60, 200, 7):
        for line in wrap("wind-go 4.000; solar 12.589", 12, room, 9):
            assert not line.endswith(("4.", "12.")) or "…" in line


@given(TEXTS)
def test_pieces_lose_nothing(text: str) -> None:
    assert "".join(pieces(text)) == text


def test_breaks_come_where_words_and_parts_of_a_name_end() -> None:
    assert wrap("host (CPU, memory, fans)", 12, 100, 3) == ["host (CPU,", "memory, fans)"]
    assert wrap("team-alpha/retrieval", 12, 100, 2) == ["team-alpha/", "retrieval"]
    assert wrap("自然语言处理", 12, 40, 2) == ["自然语", "言处理"]
