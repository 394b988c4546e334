"""States of the journal: the last one of each key is there after any restart, and an empty one is removed and takes no room."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.ledger.journal.journal import Batch, Journal
from energy_agent.ledger.journal.view import read_journal
from tests.energy_agent.ledger.cases import IDENTITY

keys = st.sampled_from(["GPU-0", "tokens/a", "tokens/b"])
said = st.dictionaries(keys, st.sampled_from(["", "x", "y"]))
steps = st.lists(st.one_of(said, st.sampled_from(["seal", "restart"])), max_size=12)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_empty_states_are_let_go_whenever_rows_are_sealed_and_the_agent_restarts(done):
    wanted = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal.open(folder / "journal.db", IDENTITY)
        for step in done:
            if step == "restart":
                journal.close()
                journal = Journal.open(folder / "journal.db", IDENTITY)
            elif step == "seal":
                journal.seal(None)
            else:
                journal.commit(Batch(states=step))
                wanted = {key: text for key, text in (wanted | step).items() if text}
            assert journal.states() == wanted
            assert read_journal(folder / "journal.db").book.states == wanted
        journal.close()
