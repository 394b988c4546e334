"""States of the journal: the last one of each key is there after any restart, and an empty one is removed and takes no room."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.saved_state import apply_changes, copy_states, find_changes
from energy_agent.ledger.journal import database, recovery
from energy_agent.ledger.journal.journal import Batch
from energy_agent.ledger.journal.view import read_journal
from tests.energy_agent.ledger.cases import IDENTITY, opened
from tests.support import examples

components = st.sampled_from(["meters", "tokens"])
keys = st.sampled_from(["", "a", "b"])
changes = st.dictionaries(components, st.dictionaries(keys, st.sampled_from(["", "x", "y"])))
stored = st.dictionaries(components, st.dictionaries(keys, st.sampled_from(["x", "y"]), min_size=1))
steps = st.lists(st.one_of(changes, st.sampled_from(["seal", "restart", "lose"])), max_size=12)


@settings(max_examples=examples(40), deadline=None)
@given(steps)
def test_states_are_those_committed_last_after_any_seals_restarts_and_losses(done):
    expected: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal.db"
        journal = opened(path.parent)
        for step in done:
            if step in ("restart", "lose"):
                journal.close()
                if step == "lose":
                    path.unlink()  # the snapshot has all commits
                journal = opened(path.parent)
            elif step == "seal":
                journal.seal(None)
            else:
                journal.commit(Batch(states=step))
                expected |= {(component, key): text for component, texts in step.items() for key, text in texts.items()}
            nested: dict[str, dict[str, str]] = {}
            for (component, key), text in expected.items():
                if text:
                    nested.setdefault(component, {})[key] = text
            assert journal.states() == nested
            assert read_journal(path).book.states == nested
        assert recovery.read_snapshot(path.with_name(database.SNAPSHOT), IDENTITY) is not None
        journal.close()


def test_states_handed_out_are_copies(tmp_path):
    journal = opened(tmp_path)
    journal.commit(Batch(states={"meters": {"a": "x"}}))
    journal.states()["meters"]["a"] = "y"
    assert journal.states() == {"meters": {"a": "x"}}
    journal.close()


@given(stored, stored, st.sets(components))
def test_changes_lead_from_the_stored_states_to_the_new_ones_and_have_nothing_else(old, new, complete):
    changes, after = find_changes(old, new, complete), copy_states(old)
    apply_changes(after, changes)
    expected = {
        component: ({} if component in complete and component in new else old.get(component, {})) | new.get(component, {})
        for component in old.keys() | new.keys()
    }
    assert after == expected
    assert all(
        text != old.get(component, {}).get(key, "") for component, texts in changes.items() for key, text in texts.items()
    )
    assert find_changes(after, new, complete) == {}
