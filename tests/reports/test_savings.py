"""The savings statement is hostile input: one clear line for whatever is wrong with it."""

from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from reports.savings import MAX_BYTES, read_savings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "savings.json"
    path.write_text(text)
    return path


def test_numbers_are_exact(tmp_path: Path) -> None:
    text = '{"saved_j": 0.1, "low_j": -2, "high_j": 1e1, "slowdown_ratio": 0.011, "method": "paired", "more": [1]}'
    savings = read_savings(write(tmp_path, text))
    assert (savings.saved_j, savings.low_j, savings.high_j) == (Fraction(1, 10), Fraction(-2), Fraction(10))
    assert savings.slowdown_ratio == Fraction(11, 1000)
    assert savings.method == "paired"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[1]", "JSON object"),
        ('{"saved_j": 1, "low_j": 0}', "high_j"),
        ('{"saved_j": NaN, "low_j": 0, "high_j": 2}', "not a number"),
        ('{"saved_j": true, "low_j": 0, "high_j": 2}', "saved_j"),
        ('{"saved_j": "1", "low_j": 0, "high_j": 2}', "saved_j"),
        ('{"saved_j": 1e999999999, "low_j": 0, "high_j": 2}', "saved_j is out of range"),
        ('{"saved_j": 1, "low_j": 1e-999999999, "high_j": 2}', "low_j is out of range"),
        ('{"saved_j": 3, "low_j": 0, "high_j": 2}', "between"),
        ('{"saved_j": 1, "low_j": 0, "high_j": 2, "method": 7}', "method"),
        ("[" * 30_000, "not JSON"),
        (" " * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_wrong_statement_names_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_savings(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UsageError, match=r"--savings .*: \w+"):
            read_savings(path)
