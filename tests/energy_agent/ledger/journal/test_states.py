"""States of the journal: the last one of each key is there after any restart, and an empty one is none and takes no room."""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.ledger.journal.journal import Batch, Journal
from energy_agent.ledger.journal.view import read_journal
from tests.energy_agent.ledger.cases import IDENTITY

keys = st.sampled_from(["GPU-0", "tokens/a", "tokens/b"])
said = st.dictionaries(keys, st.sampled_from(["", "x", "y"]))
steps = st.lists(st.one_of(said, st.sampled_from(["fold", "restart"])), max_size=12)


def table(folder):
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        return dict(connection.execute("SELECT device, state FROM meter_state"))


@settings(max_examples=40, deadline=None)
@given(steps)
def test_empty_states_are_let_go_whenever_the_log_is_folded_and_the_agent_restarts(done):
    wanted = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal.open(folder / "journal.db", IDENTITY)
        for step in done:
            if step == "restart":
                journal.close()
                journal = Journal.open(folder / "journal.db", IDENTITY)
            elif step == "fold":
                journal.seal(None)
            else:
                journal.commit(Batch(states=step))
                wanted = {key: text for key, text in (wanted | step).items() if text}
            assert journal.states() == wanted
            assert read_journal(folder / "journal.db").book.states == wanted
        journal.seal(None)
        journal.close()
        assert table(folder) == wanted


def test_empty_states_of_an_earlier_version_go_with_the_next_fold(tmp_path):
    with contextlib.closing(Journal.open(tmp_path / "journal.db", IDENTITY)) as journal:
        journal.commit(Batch(states={"GPU-0": "x"}))
        journal.seal(None)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
        connection.execute("INSERT INTO meter_state VALUES ('tokens/gone', '')")
    with contextlib.closing(Journal.open(tmp_path / "journal.db", IDENTITY)) as journal:
        assert journal.states() == {"GPU-0": "x"}
        journal.commit(Batch(states={"GPU-0": "y"}))
        journal.seal(None)
    assert table(tmp_path) == {"GPU-0": "y"}
