"""A dated table: never edited, every cell wanted, and a mistake is told with file and line."""

import hashlib
import json

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.factors import dated_table

COLUMNS = ("id", "value", "note")
TABLE = "id,value,note\na,1,\nb,2,x\n"


def parsed(table: str | bytes = TABLE, **change: object) -> dated_table.Table:
    raw = table if isinstance(table, bytes) else table.encode()
    page = {
        "id": "mine", "title": "t", "edition": "e", "fetched": "2026-11-26", "update": "u", "note": "n",
        "csv_sha256": hashlib.sha256(raw).hexdigest(),
    } | change  # fmt: skip
    page = {key: value for key, value in page.items() if value is not ...}
    return dated_table.parse(json.dumps(page).encode(), raw, "mine", COLUMNS, ("id", "value"))


def test_cells_and_lines_are_as_they_stand() -> None:
    found = parsed()
    assert [(r.line, r.cells) for r in found.rows] == [
        (2, {"id": "a", "value": "1", "note": ""}),
        (3, {"id": "b", "value": "2", "note": "x"}),
    ]
    assert (found.id, found.file) == ("mine", "mine.csv")


def test_a_table_that_was_edited_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mine\.csv: its SHA-256 is not the csv_sha256 of mine\.json"):
        parsed(csv_sha256="0" * 64)


@pytest.mark.parametrize("key", dated_table.TEXTS)
@pytest.mark.parametrize("bad", [..., "", 5, "two\nlines", "x" * 1001])
def test_every_field_of_the_page_is_wanted(key: str, bad: object) -> None:
    with pytest.raises(UsageError, match=r"^mine\.json: (its keys must be|key '" + key + "' must be one line)"):
        parsed(**{key: bad})


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("id,value\na,1\n", r"mine\.csv, line 1: the columns must be id,value,note"),
        ("", r"mine\.csv, line 1: the columns must be id,value,note"),
        ("id,value,note\na,1\n", r"mine\.csv, line 2: 2 cells, and the head has 3"),
        ("id,value,note\na,,x\n", r"mine\.csv, line 2: column value is empty"),
        ("id,value,note\na,1,x\na,2,x\n", r"mine\.csv: id a is there twice"),
        ('id,value,note\na,1,"x\n', r"mine\.csv, line 3: unexpected end of data"),
        (f"id,value,note\na,1,{'x' * 1001}\n", r"mine\.csv, line 2: column note must be one line of at most 1000"),
        ("id,value,note\na,1,\x1b[31m\n", r"mine\.csv, line 2: column note must be one line"),
        (b"id,value,note\na,1,\xff\n", r"mine\.csv is not UTF-8 text"),
        ("id,value,note\n" + "".join(f"{n},1,\n" for n in range(10_001)), r"mine\.csv has more than 10000 rows"),
    ],
)
def test_a_mistake_is_told_with_its_line(table: str | bytes, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parsed(table)


@pytest.mark.parametrize("raw", [b"\xff", b"[]", b"{", b"[" * 100_000])
def test_a_page_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError, match=r"mine\.json"):
        dated_table.parse(raw, b"", "mine", COLUMNS, ())


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "1e3", "NaN", "1,5", "1" * 13, "١"])
def test_what_is_no_number_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"here: .* is no number above 0"):
        dated_table.number(text, "here")
