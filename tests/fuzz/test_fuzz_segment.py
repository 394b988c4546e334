"""Segment bytes are hostile: whatever they are, reading answers with a segment or a ChainError."""

import gzip

from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import ChainError
from energy_agent.ledger.journal.book import Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.segments import segment, table
from tests.energy_agent.ledger.cases import IDENTITY, second
from tests.support import examples


def seed():
    book = Book()
    book.add(second(0))
    item = take(book, None, IDENTITY, 0, segment.FIRST_PREVIOUS)
    assert item is not None
    return item.body


BODY = seed()
TEXT = gzip.decompress(BODY)
edits = st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4)
json_bits = st.sampled_from(
    [b"[" * 2_000, b"{}", b"null", b"1e999", b"NaN", b'"\\ud800"', b"-1", b"9" * 5_000, b"true", b"\n", b"\0"]
)


def edited(data, changes):
    for at, cut, put in changes:
        at %= len(data) + 1
        data = data[:at] + put + data[at + cut :]
    return data


def answer(call):
    """(result, None), or (None, line) where reading is refused."""
    try:
        return call(), None
    except ChainError as error:
        return None, str(error)


def holds(data):
    content, line = answer(lambda: segment.decode(data, "f"))
    read, other = answer(lambda: table.decode(data, "f"))
    assert line == other  # at once as row by row
    if content is None:
        assert line.startswith("f:")
        assert "\n" not in line
    else:
        assert segment.encode(content.header, content.rows) == data
        assert segment.encode(read.header, read.rows()) == data


@given(st.binary(max_size=300))
@example(b"")
@example(b"\n")
@settings(max_examples=examples(200), derandomize=True)
def test_any_text(data):
    holds(data)


@given(edits)
@settings(max_examples=examples(400), derandomize=True)
def test_edited_text(changes):
    holds(edited(TEXT, changes))


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 30), json_bits)
@settings(max_examples=examples(300), derandomize=True)
def test_strange_json_within(at, cut, bits):
    holds(edited(TEXT, [(at, cut, bits)]))


@given(st.integers(0, len(BODY) - 1), st.integers(0, 8), st.binary(max_size=8))
@settings(max_examples=examples(300), derandomize=True)
def test_edited_gzip(at, cut, put):
    data = edited(BODY, [(at, cut, put)])
    text, line = answer(lambda: segment.expand(data, "f"))
    assert text == TEXT or line.startswith("f: is corrupted")
