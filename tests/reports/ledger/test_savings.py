"""The savings statement is hostile input: one clear line for whatever is wrong with it."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from reports.ledger.savings import MAX_BYTES, read_savings, read_statements, together
from reports.period import Asked, Period


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
        ('{"saved_j": 1, "low_j": 0, "high_j": 2, "from": "then"}', "from is no instant"),
        ('{"saved_j": 1, "low_j": 0, "high_j": 2, "to": 7}', "to is no instant"),
        ('{"saved_j": 1, "low_j": 0, "high_j": 2, "from": "2026-07-02", "to": "2026-07-01"}', "to is not after from"),
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


def test_an_agents_own_file_is_read_by_group_and_what_cannot_be_told_yet_stays_untold(tmp_path: Path) -> None:
    """As wattlens/steering/loop.py writes it: uJ with bounds, slowdown with bounds, or a reason."""
    told = {
        "pairs": 12,
        "saved_uj": {"value": 5e6, "low": 2e6, "high": 8e6},
        "slowdown_ratio": {"value": 0.02, "low": 0, "high": 0.04},
    }
    lost = {"pairs": 12, "saved_uj": {"value": -1e6, "low": -3e6, "high": 1e6}, "slowdown_ratio": None, "reason": ""}
    none = {"pairs": 1, "saved_uj": None, "slowdown_ratio": None, "reason": "fewer than 3 pairs"}
    found = read_savings(write(tmp_path, json.dumps({"serving": told, "batch": lost, "new": none})))
    assert (found.saved_j, found.low_j, found.high_j) == (4, -1, 9)  # 5 - 1, 2 - 3, 8 + 1 J
    assert [(part.name, part.saved_j) for part in found.parts] == [("batch", -1), ("serving", 5)]
    assert (found.slowdown_ratio, found.untold) == (Fraction(2, 100), (("new", "fewer than 3 pairs"),))


def test_two_nodes_groups_of_one_name_are_two(tmp_path: Path) -> None:
    one = read_savings(write(tmp_path, '{"name": "serving", "saved_j": 3, "low_j": 1, "high_j": 4}'))
    both = together([one, one])
    assert (both.saved_j, both.low_j, both.high_j) == (6, 2, 8)
    assert [part.name for part in both.parts] == ["serving", "serving (2)"]


def test_a_file_of_which_nothing_can_be_told_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="serving: fewer than 3 pairs"):
        read_savings(write(tmp_path, '{"serving": {"pairs": 1, "saved_uj": null, "reason": "fewer than 3 pairs"}}'))


STATED = {"saved_j": 1, "low_j": 0, "high_j": 2}


def test_the_same_statement_twice_is_refused_by_its_bytes(tmp_path: Path) -> None:
    one, copy, other = (tmp_path / f"{name}.json" for name in ("one", "copy", "other"))
    one.write_text(json.dumps(STATED))
    copy.write_text(json.dumps(STATED))
    other.write_text(json.dumps(STATED | {"saved_j": 2}))
    assert read_statements([], Period()) is None
    found = read_statements([one, other], Period())
    assert found is not None
    assert found.saved_j == 3
    for again in (one, copy):
        with pytest.raises(UsageError, match=f"--savings {again}: says the same as {one}"):
            read_statements([one, other, again], Period())


@pytest.mark.parametrize(
    ("times", "refused"),
    [
        ({}, False),
        ({"from": "2026-07-01", "to": "2026-10-01"}, False),
        ({"from": "2026-09-30T23:00Z"}, False),
        ({"to": "2026-06-30T23:00Z"}, False),  # the quarter has begun in Asia by then
        ({"to": "2026-06-30T10:00Z"}, True),  # midnight of July 1 at UTC+14
        ({"from": "2026-10-01T11:59Z"}, False),
        ({"from": "2026-10-01T12:00Z"}, True),  # midnight of October 1 at UTC-12
        ({"from": "2026-04-01", "to": "2026-05-01"}, True),
        ({"from": "0001-01-01", "to": "9999-12-31"}, False),
    ],
)
def test_a_statement_of_another_time_is_refused(tmp_path: Path, times: dict[str, str], refused: bool) -> None:
    path = write(tmp_path, json.dumps(STATED | times))
    if not refused:
        assert read_savings(path, Asked("2026Q3").widest).saved_j == 1
        return
    with pytest.raises(UsageError, match="has no part in the report's period"):
        read_savings(path, Asked("2026Q3").widest)
