"""Which fonts the PDF takes, and when it refuses: by glyphs that are there, not by names of files."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from reports.render.fonts import BASE, choose, folders

GLYPHS = {
    BASE[0]: "éß₂−",
    BASE[2]: "↑",
    "Songti SC": "中文字",
    "Gothic JP": "中文字あ",
    "Mono SC": "中文字",
    "Small": "中",
    "Arabic": "ا",
}


def missing(families: Sequence[str], letters: str) -> str:
    drawn = "".join(GLYPHS.get(family, "") for family in families)
    return "".join(letter for letter in letters if letter not in drawn)


def test_what_the_wheel_has_needs_no_other_font() -> None:
    assert choose("é₂↑", GLYPHS, missing).families == BASE


def test_chinese_is_set_in_one_chinese_family_after_the_latin_one() -> None:
    chosen = choose("é中文字", GLYPHS, missing)
    assert chosen.families == (BASE[0], "Songti SC", *BASE[1:])
    assert chosen.undrawn == ""


def test_as_many_families_as_the_scripts_need() -> None:
    assert set(choose("中文あا", GLYPHS, missing).families) == {*BASE, "Gothic JP", "Arabic"}


def test_letters_without_a_font_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError) as refused:
        choose("中文字", ["Small"], missing)
    line = str(refused.value)
    assert "\n" not in line
    assert "2 letters" in line
    assert "字 (U+5B57)" in line
    assert "--font-dir" in line
    assert "fonts-noto-cjk" in line


def test_signs_without_a_font_are_spelled_out_instead() -> None:
    assert choose("é🚀☃", GLYPHS, missing).undrawn == "🚀☃"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert folders([tmp_path]) == (tmp_path,)
    with pytest.raises(UsageError, match=r"--font-dir .*fonts: no such folder"):
        folders([tmp_path / "fonts"])
