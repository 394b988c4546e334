"""Files that somebody removes while the journal is open, and a start while no file can be written: no energy is lost."""

import contextlib
import copy
import resource
import shutil
from contextlib import closing

import pytest

from energy_agent.core.errors import JournalError
from energy_agent.ledger.journal import journal as module
from energy_agent.ledger.signing import KEY_FILE, open_signer
from tests.energy_agent.ledger.cases import check, energy, filled, opened, second, truth


@pytest.fixture(autouse=True)
def look_at_each_commit(monkeypatch):
    monkeypatch.setattr(module, "CHECK_FILES", 1)


def removed(folder):
    return [path for path in folder.iterdir() if path.name.startswith("journal.") and not path.name.endswith(".lock")]


REMOVALS = {
    "all": lambda folder: [path.unlink() for path in removed(folder)],
    "database alone": lambda folder: (folder / "journal.db").unlink(),
    "database and log": lambda folder: [path.unlink() for path in removed(folder) if "snapshot" not in path.name],
    "snapshot": lambda folder: (folder / "journal.snapshot").unlink(),
    "replaced": lambda folder: (
        shutil.copy(folder / "journal.db", folder / "copy"), (folder / "copy").rename(folder / "journal.db")
    ),
    "renamed": lambda folder: (folder / "journal.db").rename(folder / "old.db"),
}  # fmt: skip


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
@pytest.mark.parametrize("seals", [(), (1,)])
def test_removed_files_are_written_again_with_all_energy(tmp_path, remove, seals):
    with closing(filled(tmp_path, 4, seals=seals)) as journal:
        assert journal.stats().health() == ()
        remove(tmp_path)
        journal.commit(second(4))
        (health,) = journal.stats().health()
        assert (health.source, health.up, "was removed while the agent ran" in health.reason) == ("ledger:state", False, True)
        journal.commit(second(5))
        assert journal.stats().writable
    with closing(opened(tmp_path)) as journal:  # the next start has everything
        assert journal.notice == ""
        assert energy(journal) == truth(range(6))
        journal.commit(second(6))
        journal.seal(None)
    check(tmp_path)


def test_a_removed_folder_costs_nothing_once_it_can_be_written(tmp_path):
    folder = tmp_path / "state"
    with closing(filled(folder, 3)) as journal:
        shutil.rmtree(folder)
        tmp_path.joinpath("state").write_text("something else is there")
        for _ in range(2):
            with pytest.raises(JournalError, match="cannot be written again"):
                journal.commit(second(3))
            assert not journal.stats().writable
        folder.unlink()
        journal.commit(second(3))
        assert journal.stats().writable
    with closing(opened(folder)) as journal:
        assert energy(journal) == truth(range(4))


def test_the_report_ends_after_an_hour(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ALARM", 3)
    with closing(filled(tmp_path, 2)) as journal:
        (tmp_path / "journal.db").unlink()
        reported = []
        for i in range(2, 9):
            journal.commit(second(i))
            reported.append(bool(journal.stats().health()))
    assert reported == [True, True, True, True, False, False, False]


def test_another_signing_key_than_that_of_the_last_segment_is_reported(tmp_path):
    signer, _ = open_signer(tmp_path)
    with closing(filled(tmp_path, 2, seals=(1,), signer=signer)) as journal:
        assert journal.stats().health() == ()
    with closing(opened(tmp_path, signer=signer)) as journal:
        assert journal.stats().health() == ()
    (tmp_path / KEY_FILE).unlink()
    for other in (open_signer(tmp_path)[0], None):
        with closing(opened(tmp_path, signer=other)) as journal:
            (health,) = journal.stats().health()
            assert (health.source, signer.key[:16] in health.reason) == ("ledger:signing", True)
    with closing(opened(tmp_path, signing_error="no key")) as journal:
        assert [health.reason for health in journal.stats().health()] == ["no key"]


@contextlib.contextmanager
def nothing_can_be_written():
    """No file of this process can grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("seals", [(), (1,)])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_start_on_a_full_disk_goes_on_from_what_is_recorded(tmp_path, seals, is_killed):
    with closing(filled(tmp_path / "state", 4, seals=seals)) as journal:
        states, totals = journal.states(), copy.deepcopy(journal.totals())
        if is_killed:  # with its write-ahead log as it is
            shutil.copytree(tmp_path / "state", tmp_path / "killed")
    folder = tmp_path / ("killed" if is_killed else "state")
    failures = []
    with nothing_can_be_written():
        journal = opened(folder)
        for _ in range(2):
            try:
                journal.commit(second(4))
            except JournalError as error:
                failures.append(str(error))
        current = journal.states(), copy.deepcopy(journal.totals()), journal.stats()
    with closing(journal):
        assert (current[0], current[1], current[2].writable, current[2].commit_failures_total) == (states, totals, False, 2)
        assert len(failures) == 2
        journal.commit(second(4))
        assert (journal.stats().writable, journal.stats().commit_failures_total) == (True, 2)
        assert energy(journal) == truth(range(5))
        journal.seal(None)
    check(folder)


def test_a_first_start_on_a_full_disk_begins_when_there_is_room(tmp_path):
    with nothing_can_be_written():
        journal = opened(tmp_path)
        writable = journal.stats().writable
    with closing(journal):
        assert not writable
        journal.commit(second(0))
        journal.seal(None)
    check(tmp_path)
