"""The journal's log: what a journal holds is its checkpoint and the commits since, wherever between them it was closed."""

import contextlib
import copy
import json
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Gap, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.errors import JournalError
from energy_agent.ledger.journal import journal, log
from energy_agent.ledger.journal.book import Batch, Book, dumps, from_text, to_text
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.rows.kinds import GapRow, TokenRow, key_of
from tests.energy_agent.ledger.cases import IDENTITY, T0, S, batches, check, energy, filled, second, truth


def added(parts):
    book = Book()
    for batch in parts:
        book.add(batch)
    return book


learnt = st.lists(st.builds(WorkloadFacts, st.just("w1"), st.just(T0), st.just("pod"), st.sampled_from([{}, {"team": "red"}])))
parts = st.lists(st.builds(replace, batches, facts=learnt), max_size=6)
ended = st.dictionaries(st.sampled_from(["w1", "w2"]), st.just(T0))


@given(st.builds(replace, batches, ended=ended))
def test_the_text_of_a_batch_is_read_back_as_it_was(batch):
    gap = GapRow(T0, "GPU-a", "lost", T0, T0 + S, 5)
    whole = replace(batch, rows=[gap, TokenRow(T0, "w1", "m", "prompt", T0, T0 + S, 7)])
    assert log.decode(log.encode(whole)) == whole


@given(parts, ended)
def test_the_text_of_a_book_is_read_back_as_it_was(some, gone):
    book = added([*some, Batch(ended=gone)])
    assert from_text(json.loads(dumps(to_text(book)))) == book


@given(st.lists(batches, min_size=1, max_size=4))
def test_rows_given_as_rows_are_those_that_the_counts_become(some):
    rows = [row for batch in some for row in replace(batch, entries=()).ledger_rows()]
    book, whole = Book(), added(replace(batch, entries=()) for batch in some)
    for row in rows:
        book.add(Batch(rows=[row]))
    assert {key_of(row): row for row in book.open_rows()} == whole.rows
    assert (book.facts, book.totals) == (whole.facts, whole.totals)


GOOD = Entry(T0 + 4 * S, T0 + 5 * S, "GPU-0", "", State.UNALLOCATED, Method.COUNTER, 1, 1)
AT = (T0, T0 + S)
UNSOUND = [
    {"entries": [*second(3).entries, replace(GOOD, **change)]}
    for change in (
        {"start_ns": T0 + 6 * S}, {"start_ns": -1}, {"end_ns": 1 << 63}, {"energy_uj": -1}, {"energy_uj": 1 << 63},
        {"edge_uj": -1}, {"workload": "job", "state": State.IDLE, "gpu_ns": -1}, {"workload": "\ud800", "state": State.ACTIVE},
    )
] + [
    {"gaps": [Gap("GPU-0", *AT[::-1], 1, "lost")]},
    {"gaps": [Gap("GPU-0", *AT, -1, "lost")]},
    {"gaps": [Gap("GPU-0", *AT, 1 << 64, "lost")]},
    {"tokens": [Tokens(*AT[::-1], "job", "m", "prompt", 1)]},
    {"tokens": [Tokens(*AT, "job", "m", "prompt", -1)]},
    {"steps": [Steps(*AT[::-1], "job", "training", 1)]},
    {"steps": [Steps(*AT, "job", "training", -1)]},
    {"facts": [WorkloadFacts("job", 1 << 63, "pod")]},
    {"rows": [GapRow(T0, "GPU-0", "lost", *AT[::-1], 1)]},
    {"rows": [GapRow(T0, "GPU-0", "lost", *AT, -1)]},
]  # fmt: skip


@pytest.mark.parametrize("change", UNSOUND)
def test_nothing_of_an_unsound_batch_gets_into_the_log(tmp_path, change):
    with contextlib.closing(filled(tmp_path, 2)) as writer:
        before = copy.deepcopy(writer.totals())
        with pytest.raises(JournalError):
            writer.commit(replace(second(3), **change))
        assert (writer.totals(), rows(tmp_path, "log")) == (before, 2)
        writer.commit(second(2))
    check(tmp_path)
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert energy(again) == truth(range(3))


def rows(folder, table):
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_the_log_is_kept_until_its_rows_are_sealed(tmp_path):
    with contextlib.closing(filled(tmp_path, 100)) as writer:
        assert rows(tmp_path, "log") == 100
        view = read_journal(tmp_path / "journal.db")
        assert (view.book, view.identity) == (added([second(i) for i in range(100)]), IDENTITY)
        writer.seal(None)
        assert rows(tmp_path, "log") == 0
        writer.commit(second(100))
        totals = writer.totals()
    assert (totals.commits, totals.entries) == (101, 202)
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert again.totals() == totals
        assert again.states()["meters"]["GPU-1"] == '{"second":100}'
        assert [fact.workload for fact in again.facts()] == ["job"]


def test_rows_that_end_later_stay_when_an_hour_is_sealed(tmp_path):
    commits = [second(i) for i in range(895, 905)]  # over the edge of a cell
    with contextlib.closing(filled(tmp_path, 0)) as writer:
        for batch in commits:
            writer.commit(batch)
        writer.seal(T0 + 900 * S)
        book = read_journal(tmp_path / "journal.db").book
        assert book.rows
        assert all(key[1] == T0 + 900 * S for key in book.rows)
        writer.commit(second(905))
    assert read_journal(tmp_path / "journal.db").book.totals == added([*commits, second(905)]).totals
    check(tmp_path)


NONSENSE = ["[]", "{}", "7", "not json", "[[[1,2]],[],[],[],[],[],{},[],{},[]]"]
NONSENSE += ['[[],[],[],[],[],[],["a"],[],{},[]]', '[[],[],[],[],[],[],{"GPU-0":"{}"},[],{},[]]']


@pytest.mark.parametrize("text", NONSENSE)
def test_a_log_that_makes_no_sense_is_a_torn_journal(tmp_path, text):
    filled(tmp_path, 3, seals=(1,)).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("UPDATE log SET batch = ?", (text,))
        connection.commit()
    with pytest.raises(JournalError, match="is damaged"):
        read_journal(tmp_path / "journal.db")
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert "moved to journal.db.torn-" in again.notice
        again.commit(second(9))
    check(tmp_path)


@given(st.lists(batches, min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_reader_beside_sees_every_commit_at_once(tmp_path_factory, some):
    folder = tmp_path_factory.mktemp("log")
    with contextlib.closing(filled(folder, 0)) as writer:
        for i, batch in enumerate(some, 1):
            writer.commit(batch)
            view, expected = read_journal(folder / "journal.db"), added(some[:i])
            assert replace(view.book, rows=expected.rows) == expected
            assert view.segments or view.book.rows == expected.rows  # where time went back, rows are in a segment


@pytest.mark.smoke
@settings(max_examples=10)
@given(st.lists(st.sampled_from([1, 1_000, 3 << 20, 7 << 20]), max_size=8))
def test_the_text_of_the_log_is_bounded_and_nothing_depends_on_it(sizes):
    with tempfile.TemporaryDirectory() as name:
        folder, expected = Path(name), Book()
        with contextlib.closing(filled(folder, 0)) as writer:
            for i, size in enumerate(sizes):
                batch = replace(second(i), states={"meters": {"GPU-0": str(i) * size}})
                writer.commit(batch)
                expected.add(batch)
                with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
                    (log_size,) = connection.execute("SELECT coalesce(sum(length(batch)), 0) FROM log").fetchone()
                assert log_size <= journal.LOG_CHARACTERS
            assert read_journal(folder / "journal.db").book == expected
        with contextlib.closing(filled(folder, 0)) as again:
            assert again.states() == expected.states
