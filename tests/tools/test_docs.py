"""Generated parts of the documentation are those that the code gives now."""

import pytest

from tools.docs import PAGES, PART, PARTS, ROOT, rebuild


@pytest.mark.parametrize("path", PAGES)
def test_generated_parts_are_up_to_date(path: str) -> None:
    page = (ROOT / path).read_text(encoding="utf-8")
    assert rebuild(page) == page, "run make docs"


def test_each_generated_part_is_on_one_page() -> None:
    names = [match[2] for path in PAGES for match in PART.finditer((ROOT / path).read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(PARTS)


def test_only_the_text_between_the_markers_is_rebuilt() -> None:
    begin, end = "<!-- servers: begin, written by make docs -->\n", "<!-- servers: end -->\n"
    assert rebuild(f"a\n{begin}old\n{end}b\n") == f"a\n{begin}{PARTS['servers']()}{end}b\n"
