"""Names and phrases that the product's own style replaces."""

import ast
from pathlib import Path

import pytest

from tools.plain_words import PlainWords, check, check_names, prose_of_markdown

RULES = PlainWords.load()


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("def told(): ...", ["told"]),
        ("class A:\n    @property\n    def _held(self): ...", ["_held"]),
        ("async def said(): ...", ["said"]),
        ("def is_held(): ...\ndef hold(): ...", []),
        ("held = 1\ndef f(seen): ...\nself._made = 2", ["held", "_made", "seen"]),
        ("held_uj = seen.made\nf(left=1)", []),
        ("@field_validator('a')\ndef _sound(cls): ...\n@model_validator()\ndef _check_order(self): ...", ["_sound"]),
        ("def test_who_reads(): ...\ndef test_a_whole_page(): ...", ["test_who_reads"]),
    ],
)
def test_a_bare_participle_is_no_name(source: str, texts: list[str]) -> None:
    assert [wording.text for wording in check_names("a.py", ast.parse(source), RULES)] == texts


def test_each_kind_of_file_is_read_where_people_read_it(tmp_path: Path) -> None:
    text = '"""`Page` of b.py.\n\nIs booked anew in `no_such`, gone/b.py."""\nclass Page:\n    key = "booked"  # told once\n'
    (tmp_path / "a.py").write_text(text)
    (tmp_path / "b.py").write_text("class Page: ...\nclass _Row: ...\n")
    (tmp_path / "c.md").write_text("Energy is booked.\n```\nbooked\n```\nThe key `booked`.\n")
    findings = check(tmp_path, ["a.py", "b.py", "c.md"], RULES)
    assert [(finding.path, finding.line, finding.text) for finding in findings] == [
        ("a.py", 3, "`no_such`"), ("a.py", 3, "anew"), ("a.py", 3, "booked"), ("a.py", 3, "gone/b.py"),
        ("a.py", 4, "class Page"), ("a.py", 5, "told"),
        ("b.py", 1, "class Page"), ("c.md", 1, "booked"),
    ]  # fmt: skip


def test_code_blocks_of_a_page_are_not_prose() -> None:
    assert list(prose_of_markdown("a\n```yaml\nb\n```\nc `d`\n")) == [(1, "a\n\n\n\nc \n")]
