"""Journal files are torn in every way a disk can tear them: opening answers with a journal or one line, and deletes nothing."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import JournalError, UsageError
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.journal.view import read_journal
from tests.energy_agent.ledger.cases import IDENTITY, filled, second
from tests.support import examples

SECONDS = 8


@pytest.fixture(scope="module")
def seed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seed")
    filled(folder, SECONDS, seals=(2,)).close()
    journal = filled(folder, 0)  # folds the log into cells
    journal.commit(second(SECONDS))
    journal.close()
    return (folder / "journal.db").read_bytes(), folder / "segments"


patches = st.one_of(st.binary(min_size=1, max_size=64), st.integers(1, 8_192).map(bytes))
tears = st.lists(st.tuples(st.floats(0, 1), patches), min_size=1, max_size=4)


def torn(data, changes, keep):
    data = bytearray(data)
    for at, put in changes:
        start = int(at * (len(data) - 1))
        data[start : start + len(put)] = put[: len(data) - start]
    return bytes(data[: int(len(data) * keep)])


@given(tears, st.sampled_from([1.0, 1.0, 0.9, 0.3, 0.001]))
@settings(
    max_examples=examples(120), derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_torn_journal_is_opened_moved_aside_or_refused(tmp_path_factory, seed, changes, keep):
    data, sealed = seed
    folder = tmp_path_factory.mktemp("torn")
    shutil.copytree(sealed, folder / "segments")
    path = folder / "journal.db"
    data = torn(data, changes, keep)
    path.write_bytes(data)
    message = answer(lambda: read_journal(path))
    assert message is None or "\n" not in message
    path.write_bytes(data)
    opened = []
    message = answer(lambda: opened.append(Journal.open(path, IDENTITY)))
    if message is not None:  # refused: it could be someone else's file
        assert "\n" not in message
        assert path.read_bytes() == data
        return
    (journal,) = opened
    try:
        if journal.notice:
            (aside,) = [p for p in folder.glob("journal.db.torn-*") if not p.name.endswith(("-wal", "-shm"))]
            assert aside.stat().st_size == len(data)
        journal.commit(second(SECONDS + 1))
    finally:
        journal.close()
    shutil.rmtree(folder)


def answer(call):
    """Return the message of an expected error, or None if the call succeeds."""
    try:
        call()
    except (JournalError, UsageError) as error:
        return str(error)
    return None
