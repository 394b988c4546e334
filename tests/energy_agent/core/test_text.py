"""Names as cells of a CSV, and addresses in messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.text import harmless, quoted_address


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


@pytest.mark.parametrize("scheme", ["", "http://", "ftp://", "ht\ntp://"])
@given(st.text(), st.text())
def test_no_part_of_an_address_before_its_host_is_printed(scheme: str, user: str, host: str) -> None:
    host = host.rpartition("@")[2]
    assert quoted_address(f"{scheme}{user}@{host}") in (repr(f"{start}...@{host}"[:200]) for start in (scheme, ""))


@given(st.text().filter(lambda text: "@" not in text))
def test_an_address_without_a_user_is_quoted_as_it_is(url: str) -> None:
    assert quoted_address(url) == repr(url[:200])
