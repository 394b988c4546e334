"""A dated table: never edited, every cell required, and errors name file and line."""

import hashlib
import json
from itertools import product

from energy_agent.factors import dated_table
from tests.support import refusal

COLUMNS = ("id", "value", "note")
TABLE = "id,value,note\na,1,\nb,2,x\n"


def parsed(table: str | bytes = TABLE, **change: object) -> dated_table.DatedTable:
    raw = table if isinstance(table, bytes) else table.encode()
    page = {
        "id": "mine", "title": "t", "edition": "e", "fetched": "2026-11-26", "update": "u", "note": "n",
        "csv_sha256": hashlib.sha256(raw).hexdigest(),
    } | change  # fmt: skip
    page = {key: value for key, value in page.items() if value is not ...}
    return dated_table.parse(json.dumps(page).encode(), raw, "mine", COLUMNS, ("id", "value"))


def test_cells_and_lines_are_as_they_stand() -> None:
    table = parsed()
    assert [(r.line, r.cells) for r in table.rows] == [
        (2, {"id": "a", "value": "1", "note": ""}),
        (3, {"id": "b", "value": "2", "note": "x"}),
    ]
    assert (table.id, table.file) == ("mine", "mine.csv")


def test_every_field_of_the_page_is_wanted_and_the_table_s_own_hash() -> None:
    assert "SHA-256" in refusal(parsed, csv_sha256="0" * 64)
    for key, bad in product(dated_table.TEXTS, (..., "", 5, "two\nlines", "x" * 1001)):
        assert refusal(parsed, **{key: bad}).startswith(("mine.json: expected the keys", f"mine.json: key '{key}'"))


def test_mistake_is_reported_with_its_line() -> None:
    head = "id,value,note\n"
    for table, words in (
        ("id,value\na,1\n", "expected the columns"), ("", "expected the columns"), (head + "a,1\n", ", line 2: 2 cells"),
        (head + "a,,x\n", ", line 2: column value"), (head + "a,1,x\na,2,x\n", "duplicate id"), (head + 'a,1,"x\n', ", line 3"),
        (head + f"a,1,{'x' * 1001}\n", ", line 2: column note"), (head + "a,1,\x1b[31m\n", ", line 2: column note"),
        (b"id,value,note\na,1,\xff\n", " is not UTF-8"), (head + "".join(f"{n},1,\n" for n in range(10_001)), "10000 rows"),
    ):  # fmt: skip
        line = refusal(parsed, table)
        assert line.startswith("mine.csv")
        assert words in line


def test_what_is_no_page_and_no_number_is_refused_with_its_name() -> None:
    for raw in (b"\xff", b"[]", b"{", b"[" * 100_000):
        assert "mine.json" in refusal(dated_table.parse, raw, b"", "mine", COLUMNS, ())
    for text in ("", "0", "0.0", "-1", "1e3", "NaN", "1,5", "1" * 13, "\u0661"):
        assert refusal(dated_table.number, text, "here").startswith("here: ")
