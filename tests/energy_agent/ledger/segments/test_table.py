"""Segments as columns: whatever is in a file, reading it at once says what reading it row by row says."""

import gzip
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Action, State
from energy_agent.core.errors import ChainError
from energy_agent.ledger.journal.book import Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.rows.text import FIELDS, canonical
from energy_agent.ledger.segments import segment, table
from tests.energy_agent.ledger.cases import IDENTITY, T0, batches, second
from tests.support import examples


def sealed(batch):
    book = Book()
    book.add(batch)
    item = take(book, None, IDENTITY, 0, segment.FIRST_PREVIOUS)
    return item and gzip.decompress(item.body)


def answer(call):
    try:
        return call(), None
    except ChainError as error:
        return None, str(error)


def read_both_ways(data):
    """What both ways of reading say; they have to agree to the letter."""
    content, line = answer(lambda: segment.decode(data, "f"))
    read, other = answer(lambda: table.decode(data, "f"))
    assert line == other
    if content is None:
        assert table.at_once(data) is None
        return None
    strange = tuple(table.strange_rows(content))
    assert (read.header, read.sha256, read.strange) == (content.header, content.sha256, strange)
    assert plain(read.columns) == plain(table.columns_of(content.rows))
    assert sorted(map(repr, read.rows())) == sorted(map(repr, content.rows))
    return read


def plain(columns):
    return {kind: {name: list(values) for name, values in by_name.items()} for kind, by_name in columns.items()}


@given(batches)
@settings(max_examples=examples(60), deadline=None)
def test_what_an_agent_writes_is_read_at_once(batch):
    data = sealed(batch)
    if data is not None:
        assert read_both_ways(data) == table.at_once(data)


ODD = [
    -(2**63) + 1, -(2**63),
    -1, 2**63 - 1, 2**63, 0, 900_000_000_000, True, None, 1.0, 1.5, 1e300, [], {}, {"a": 1}, {"a": "b"}, ["a"], "", "5", "é",
    "\x7f", '"', "\\", "\\u0041", "a\nb", "\u2028", "😀", "\ud800", "x" * 65_536, "x" * 65_537, {"k": "\ud800"}, {"é": '"'},
    "active", "counter", "unattributed:gap", '","workload":"', '{"kind":"cell"}',
]  # fmt: skip
ROWS = [json.loads(line) for line in sealed(second(0)).decode().splitlines()[1:]]
ROWS += [
    {"kind": "gap", "cell_start_ns": T0, "device": "GPU-0", "reason": "r", "start_ns": T0, "end_ns": T0 + 9, "bound_uj": 5},
    {"kind": "time", "cell_start_ns": T0, "device": "GPU-0", "workload": "job", "state": "active", "start_ns": T0}
    | {"end_ns": T0 + 9, "gpu_ns": 9},
    {"kind": "phase", "cell_start_ns": T0, "workload": "job", "phase": "checkpoint", "start_ns": T0, "end_ns": T0 + 9}
    | {"energy_uj": 5, "gpu_ns": 9},
    {"kind": "action", "t_ns": T0, "policy": "p", "action": "set", "setting": '{"a":1}', "outcome": "ok"}
    | {"device": "GPU-0", "workload": "job"},
    {"kind": "pair", "t_ns": T0, "group": "g", "workload": "job", "policy": "p", "since_ns": T0 - 9, "number": 3}
    | {f"{block}_{name}": 5 for block in ("treatment", "control") for name in ("uj", "work", "ns", "itl_us", "itl_count")}
    | {"enforced_uj": 7, "arrivals": "open", "excluded": ""},
    {"kind": "analysis", "t_ns": T0, "group": "g", "workload": "job", "policy": "p", "since_ns": T0 - 9, "number": 1}
    | {"pairs": 12, "excluded": 0, "chance_ppb": 12_500_000, "covered_uj": 99, "saved_uj": -5, "low_uj": -9, "high_uj": 2}
    | {"claimed_uj": -4, "lost_uj": 5, "slowdown_ppm": -3, "slowdown_low_ppm": -4, "slowdown_high_ppm": 5}
    | {"slowdown_of": "latency", "reason": ""},
]
HEADER = json.loads(sealed(second(0)).decode().splitlines()[0])


def text_of(rows, **header):
    """A canonical segment of anything."""
    lines = sorted({canonical(row) for row in rows})
    head = canonical(HEADER | {"rows": len(lines)} | header)
    return "\n".join([head, *lines, ""]).encode()


def test_every_kind_is_among_the_rows_that_are_changed_here():
    assert {row["kind"] for row in ROWS} == set(FIELDS)
    assert read_both_ways(text_of(ROWS)) == table.at_once(text_of(ROWS))


@st.composite
def changed(draw):
    rows = [dict(row) for row in ROWS]
    for _ in range(draw(st.integers(1, 2))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        name = draw(st.sampled_from(sorted(row)))
        what = draw(st.sampled_from(["value", "value", "value", "drop", "add", "copy"]))
        if what == "drop":
            del row[name]
        elif what == "add":
            row[draw(st.sampled_from(["zzz", "a", "labels", "end_ns"]))] = draw(st.sampled_from(ODD))
        elif what == "copy":
            rows.append(row | {name: draw(st.sampled_from(ODD))})
        else:
            row[name] = draw(st.sampled_from(ODD))
    return rows


@given(changed())
@settings(max_examples=examples(600), deadline=None)
def test_any_value_in_any_field_is_taken_or_refused_alike(rows):
    read_both_ways(text_of(rows))


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_each_odd_value_in_each_field(kind):
    (row, *_) = (row for row in ROWS if row["kind"] == kind)
    for name in FIELDS[kind]:
        for value in ODD:
            read_both_ways(text_of([row | {name: value}]))


SPELLINGS = [
    ('"gpu_ns":1000000000', '"gpu_ns":1000000000.0'),
    ('"gpu_ns":1000000000', '"gpu_ns":1e9'),
    ('"gpu_ns":1000000000', '"gpu_ns":01000000000'),
    ('"gpu_ns":1000000000', '"gpu_ns":-0'),
    ('"edge_inner_uj":0', '"edge_inner_uj":-0'),
    ('"edge_inner_uj":0', '"edge_inner_uj":false'),
    ('"edge_inner_uj":0', '"edge_inner_uj":0,"edge_inner_uj":0'),
    ('"edge_inner_uj":0', '"edge_inner_uj": 0'),
    ('"workload":"job"', '"workload":"j\\u006fb"'),
    ('"workload":"job"', '"workload":"j\\/b"'),
    ('"workload":"job"', '"workload":"j\x7fb"'),
    ('"workload":"job"', '"workload":"j\tb"'),
    ('"workload":"job"', '"workload":"\\uD83D\\uDE00"'),
    ('"workload":"job"', '"workload":"\\ud83d\\ude00"'),
    ('"workload":"job"', '"workload":"job"},{"workload":"x"'),
    ('"team":"red"', '"team":"red","team":"red"'),
    ('"team":"red"', '"team":"red", "a":"b"'),
    ('"team":"red"', '"team":"red","a":"b"'),
    ('"device":"GPU-0",', '"device":"GPU-0"\n'),
    ('"device":"GPU-0",', ""),
]


def test_each_odd_spelling():
    data = text_of(ROWS).decode()
    for old, new in SPELLINGS:
        assert old in data
        read_both_ways(data.replace(old, new, 1).encode())
        read_both_ways(data.replace(old, new).encode())


def test_a_row_over_two_lines_and_two_rows_in_one():
    """As many lines as rows, and joined by commas the same text; and yet no line is a row."""
    head, first, second_, *rest = text_of(ROWS).decode().split("\n")
    torn = first.replace(',"device"', '\n"device"')
    for lines in ([torn, f"{second_},{rest[0]}", *rest[1:]], [f"{first},{second_}", *rest[:-1], rest[-1]]):
        assert read_both_ways("\n".join([head, *lines]).encode()) is None


def test_impossible_rows_are_reported_by_line():
    cell = next(row for row in ROWS if row["kind"] == "cell")
    again, late = cell | {"gpu_ns": 1}, cell | {"workload": "x", "end_ns": HEADER["to_ns"] + 1}
    early = cell | {"workload": "y", "start_ns": HEADER["from_ns"] - 1}
    gap = next(row for row in ROWS if row["kind"] == "gap") | {"end_ns": T0 - 1}
    for rows, count in (([cell, again], 1), ([cell, late], 1), ([cell, early], 1), ([gap], 1), ([cell, late, early, gap], 3)):
        read = read_both_ways(text_of(rows))
        assert len(read.strange) == count
        assert table.at_once(text_of(rows)) is None


def test_what_is_escaped_is_no_reason_to_read_slowly():
    batch = second(0, workload='jöb "x" \\ 😀')
    actions = [Action(T0, "GPU-0", "p", "set", '{"a":"b"}', "ok", "jöb\n")]
    read = table.at_once(sealed(replace(batch, actions=actions)))
    assert list(read.columns["action"]["setting"]) == ['{"a":"b"}']
    assert set(read.columns["cell"]["workload"]) == {'jöb "x" \\ 😀'}
    assert set(read.columns["cell"]["state"]) == {State.IDLE.value}


def test_an_empty_segment():
    assert read_both_ways(text_of([])).columns == {}
    assert read_both_ways(b"") is None
    assert read_both_ways(b"\n") is None
    assert read_both_ways(text_of([])[:-1]) is None
