"""The journal's log: nothing of a commit depends on when it is folded into cells and totals."""

import contextlib
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
from energy_agent.ledger import chain
from energy_agent.ledger.journal import book as books
from energy_agent.ledger.journal import database, journal, log
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.journal.log import Room
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.rows.kinds import INT64_MAX
from tests.energy_agent.ledger.cases import IDENTITY, T0, S, batches, filled, second


def folded(parts):
    book = Book()
    for batch in parts:
        book.take(books.change_of(book, batch))
    return book


learnt = st.lists(st.builds(WorkloadFacts, st.just("w1"), st.just(T0), st.just("pod"), st.sampled_from([{}, {"team": "red"}])))


@given(st.lists(st.builds(replace, batches, facts=learnt), max_size=6))
def test_folding_many_commits_at_once_gives_what_folding_each_gives(parts):
    book = Book()
    book.take(books.change_of(book, *parts))
    assert book == folded(parts)


@given(batches)
def test_the_text_of_a_batch_is_read_back_as_it_was(batch):
    assert log.decode(log.encode(batch)) == batch


@given(st.lists(batches, max_size=5), st.integers(0, 3))
def test_what_room_was_found_for_fits(parts, before):
    book = folded(parts[:before])
    room = Room(book.largest())
    for batch in parts[before:]:
        assert room.take(batch)
        book.take(books.change_of(book, batch))
        assert book.largest() <= room.largest
    assert not Room(INT64_MAX).take(second(0))


GOOD = Entry(T0, T0 + S, "GPU-0", "", State.UNHELD, Method.COUNTER, 1, 1)
UNSOUND = [
    Batch([Entry(T0 + S, T0, "GPU-0", "", State.UNHELD, Method.COUNTER, 1, 1)]),
    Batch([Entry(-1, T0, "GPU-0", "", State.UNHELD, Method.COUNTER, 1, 1)]),
    Batch([Entry(T0, T0 + S, "GPU-0", "", State.UNHELD, Method.COUNTER, -1, 1)]),
    Batch([Entry(T0, T0 + S, "GPU-0", "", State.UNHELD, Method.COUNTER, 1, -1)]),
    Batch([Entry(T0, T0 + S, "GPU-0", "job", State.IDLE, Method.COUNTER, 1, 1, -1)]),
    Batch([Entry(T0, 1 << 63, "GPU-0", "", State.UNHELD, Method.COUNTER, 1, 1)]),
    Batch([GOOD], gaps=[Gap("GPU-0", T0 + S, T0, 1, "lost")]),
    Batch([GOOD], gaps=[Gap("GPU-0", T0, T0 + S, -1, "lost")]),
    Batch([GOOD], tokens=[Tokens(T0 + S, T0, "job", "m", "prompt", 1)]),
    Batch([GOOD], tokens=[Tokens(T0, T0 + S, "job", "m", "prompt", -1)]),
    Batch([GOOD], steps=[Steps(T0 + S, T0, "job", "training", 1)]),
    Batch([GOOD], steps=[Steps(T0, T0 + S, "job", "training", -1)]),
]


@pytest.mark.parametrize("batch", UNSOUND)
def test_an_unsound_batch_does_not_get_into_the_log(tmp_path, batch):
    assert not Room().take(batch)
    with contextlib.closing(filled(tmp_path, 2)) as open_journal:
        with pytest.raises(JournalError):
            open_journal.commit(batch)
        open_journal.commit(second(2))
    assert chain.verify([], read_journal(tmp_path / "journal.db")).faults == ()


def rows(folder, table):
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_minute_of_commits_is_folded_and_counts_do_not_depend_on_it(tmp_path):
    with contextlib.closing(filled(tmp_path, journal.FOLD_EVERY - 1)) as writer:
        assert (rows(tmp_path, "log"), rows(tmp_path, "cell")) == (journal.FOLD_EVERY - 1, 0)
        before = read_journal(tmp_path / "journal.db").book
        assert sum(before.totals.energy.values()) == sum(2 * (500_000_000 + i) for i in range(journal.FOLD_EVERY - 1))
        writer.commit(second(journal.FOLD_EVERY - 1))
        assert rows(tmp_path, "log") == 0
        assert rows(tmp_path, "cell") == 2 * 2  # two devices, active and idle
        assert read_journal(tmp_path / "journal.db").book == folded([second(i) for i in range(journal.FOLD_EVERY)])
        totals = writer.totals()
    assert (totals.commits, totals.entries) == (journal.FOLD_EVERY, 2 * journal.FOLD_EVERY)
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert again.totals() == totals


def test_what_was_not_folded_is_there_after_a_restart(tmp_path):
    filled(tmp_path, 7).close()
    assert rows(tmp_path, "log") == 7
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert rows(tmp_path, "log") == 0
        assert (again.totals().commits, again.totals().entries) == (7, 14)
        assert again.states()["GPU-1"] == '{"second":6}'
        assert [fact.workload for fact in again.facts()] == ["job"]
    assert read_journal(tmp_path / "journal.db").book == folded([second(i) for i in range(7)])


def test_a_log_that_cannot_be_folded_goes_on_for_a_while_and_loses_nothing(tmp_path):
    """As on a disk that has room for a row of the log, and none for a fold."""
    with contextlib.closing(filled(tmp_path, 0)) as writer:
        connection = writer._connection
        connection.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON cell BEGIN SELECT RAISE(ABORT, 'no room'); END")
        for done in range(journal.LOG_MAX):
            writer.commit(second(done))
        assert writer.stats().writable
        with pytest.raises(JournalError, match="no room"):
            writer.commit(second(journal.LOG_MAX))
        done = journal.LOG_MAX
        assert not writer.stats().writable
        connection.execute("DROP TRIGGER full")
        writer.commit(second(done))
        assert writer.stats().writable
        assert sum(writer.totals().energy.values()) == sum(2 * (500_000_000 + i) for i in range(done + 1))
    assert sum(read_journal(tmp_path / "journal.db").book.totals.energy.values()) == sum(
        2 * (500_000_000 + i) for i in range(done + 1)
    )


@pytest.mark.parametrize("text", ["[]", "{}", "[[[1,2]],[],[],[],[],[],{}]", "not json", '[[],[],[],[],[],[],["a"]]'])
def test_a_log_that_makes_no_sense_is_a_torn_journal(tmp_path, text):
    filled(tmp_path, 3, seals=(1,)).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("UPDATE log SET batch = ?", (text,))
        connection.commit()
    with pytest.raises(JournalError, match="torn"):
        read_journal(tmp_path / "journal.db")
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert "moved to journal.db.torn-" in again.notice
        again.commit(second(9))
    assert chain.verify([tmp_path / "segments"], read_journal(tmp_path / "journal.db")).faults == ()


AS_NUMBERS = """
DROP TABLE ended;
CREATE TABLE e (device TEXT, workload TEXT, state TEXT, method TEXT, energy_uj INTEGER NOT NULL,
  PRIMARY KEY (device, workload, state, method)) STRICT, WITHOUT ROWID;
INSERT INTO e SELECT device, workload, state, method, CAST(energy_uj AS INTEGER) FROM energy_total;
DROP TABLE energy_total; ALTER TABLE e RENAME TO energy_total;
CREATE TABLE g (device TEXT PRIMARY KEY, bound_uj INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO g SELECT device, CAST(bound_uj AS INTEGER) FROM gap_total;
DROP TABLE gap_total; ALTER TABLE g RENAME TO gap_total;
"""
"""Totals of energy as they stood before schema 4."""


def test_a_journal_from_before_the_log_is_read_on(tmp_path):
    filled(tmp_path, 3, seals=(1,)).close()
    filled(tmp_path, 0).close()  # folds
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.executescript(
            f"DROP TABLE log; DROP TABLE steps; DROP TABLE step_total; {AS_NUMBERS} PRAGMA user_version=1;"
        )
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert not again.notice
        again.commit(second(3))
        assert sum(again.totals().energy.values()) == sum(2 * (500_000_000 + i) for i in range(4))
    assert read_journal(tmp_path / "journal.db").identity == IDENTITY


def test_a_journal_from_before_steps_is_read_as_it_is_and_brought_up_to_date(tmp_path):
    """As the release before left it: no tables of steps, commits in the log that have seven parts, none of them steps."""
    with contextlib.closing(filled(tmp_path, 4, seals=(1,))) as writer:
        assert sum(writer.totals().steps.values()) == 12
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        for number, text in connection.execute("SELECT sequence, batch FROM log").fetchall():
            old = json.dumps(json.loads(text)[:7])
            connection.execute("UPDATE log SET batch = ? WHERE sequence = ?", (old, number))
        connection.executescript(f"DROP TABLE steps; DROP TABLE step_total; {AS_NUMBERS} PRAGMA user_version=2;")
    energy = sum(2 * (500_000_000 + i) for i in range(4))
    assert sum(read_journal(tmp_path / "journal.db").book.totals.energy.values()) == energy
    with contextlib.closing(filled(tmp_path, 0)) as again:
        assert not again.notice
        again.commit(second(4))
        assert again.totals().steps == {("job", "training"): 3}
        assert sum(again.totals().energy.values()) == energy + 2 * (500_000_000 + 4)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (database.SCHEMA,)


def test_a_full_journal_from_before_schema_4_is_brought_up_to_date(tmp_path):
    """Its budget is its size, and the change of schema needs room for a while; then it goes on within its budget."""
    with contextlib.closing(filled(tmp_path, 2, seals=(1,))) as writer:
        many = [
            Entry(T0 + 2 * S, T0 + 3 * S, f"GPU-{n}", "job", State.ACTIVE, Method.COUNTER, 10**9 + n, 0, S)
            for n in range(4_000)
        ]
        writer.commit(Batch(many))
        writer.seal(None)
        energy = dict(writer.totals().energy)
    path = tmp_path / "journal.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{AS_NUMBERS} PRAGMA user_version=3; VACUUM;")
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    with contextlib.closing(filled(tmp_path, 0, disk_budget_b=pages * database.PAGE_B)) as again:
        assert dict(again.totals().energy) == energy
        again.commit(second(9))
    assert chain.verify([tmp_path / "segments"], read_journal(path)).faults == ()


@given(st.lists(batches, min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_reader_beside_sees_every_commit_at_once(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("log")
    with contextlib.closing(filled(folder, 0)) as writer:
        for i, batch in enumerate(parts, 1):
            writer.commit(batch)
            assert read_journal(folder / "journal.db").book == folded(parts[:i])


@settings(max_examples=10)
@given(st.lists(st.sampled_from([1, 1_000, 300_000, 3_000_000]), max_size=15))
def test_the_text_of_the_log_is_bounded_and_nothing_depends_on_it(sizes):
    with tempfile.TemporaryDirectory() as name:
        folder, expected = Path(name), Book()
        with contextlib.closing(filled(folder, 0)) as writer:
            for i, size in enumerate(sizes):
                batch = replace(second(i), states={"GPU-0": str(i) * size})
                writer.commit(batch)
                expected.take(books.change_of(expected, batch))
                with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
                    (held,) = connection.execute("SELECT coalesce(sum(length(batch)), 0) FROM log").fetchone()
                assert held < journal.FOLD_CHARACTERS
            assert read_journal(folder / "journal.db").book == expected
        with contextlib.closing(filled(folder, 0)) as again:
            assert again.states() == expected.states


def test_a_log_of_large_texts_that_cannot_be_folded_is_not_let_grow(tmp_path):
    with contextlib.closing(filled(tmp_path, 0)) as writer:
        writer._connection.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON cell BEGIN SELECT RAISE(ABORT, 'no room'); END")
        most = 10 * journal.FOLD_CHARACTERS
        text, done = "x" * (journal.FOLD_CHARACTERS // 2), 0
        with contextlib.suppress(JournalError):
            while done * len(text) <= 2 * most:
                writer.commit(replace(second(done), states={"GPU-0": text}))
                done += 1
        assert 1 < done * len(text) <= most
        writer._connection.execute("DROP TRIGGER full")
        writer.commit(second(done))
    assert rows(tmp_path, "log") == 0
    assert chain.verify([], read_journal(tmp_path / "journal.db")).faults == ()
