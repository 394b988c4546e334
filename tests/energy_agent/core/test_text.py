"""Names as cells of a CSV."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.text import harmless


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("red", "red"), ("", ""), ("a-b=c", "a-b=c"), ("=1+1|cmd", "'=1+1|cmd"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"),
        ("\tx", "' x"), ("\rx", "' x"), ("a\nb", "a b"), ("\n=1", "' =1"), ("  =1", "'  =1"), ("a\x00\u2028b", "a  b"),
    ],
)  # fmt: skip
def test_each_kind_of_name(name: str, cell: str) -> None:
    assert harmless(name) == cell


@given(st.text())
def test_a_cell_is_one_line_and_no_formula(name: str) -> None:
    cell = harmless(name)
    assert len(cell.splitlines()) <= 1
    assert not cell.strip().startswith(("=", "+", "-", "@"))
