"""Every reader of a ledger refuses a journal or a segment of another format in one line."""

from pathlib import Path

import pytest

from energy_agent.ledger.journal.database import FORMAT
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import filled, set_format
from tests.support import Said, said_here

PERIOD = ("--from", "2026-01-01", "--to", "2026-01-02")
READERS = {
    "verify": ("ledger", "verify", "STATE"),
    "export": ("ledger", "export", "STATE"),
    "export --sum": ("ledger", "export", "--sum", "STATE"),
    "usage": ("usage", "STATE", *PERIOD),
    "job": ("job", "slurm/7", "STATE", "--since", "2026-01-01"),
    "report": ("report", "--ledger", "STATE", "--country", "DEU", *PERIOD, "--out", "STATE/report"),
}


def read(words: tuple[str, ...], state: Path) -> Said:
    return said_here(*(word.replace("STATE", str(state)) for word in words))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    filled(tmp_path, 4, seals=(1,)).close()
    return tmp_path


@pytest.mark.parametrize("words", READERS.values(), ids=READERS)
@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_readers_refuse_a_journal_of_another_format_in_one_line(state: Path, words: tuple[str, ...], number: int) -> None:
    set_format(state / "journal.db", number)
    before = (state / "journal.db").read_bytes()
    done = read(words, state)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{state}/journal.db: expected journal format {FORMAT}, got {number}; read it with the version that" in done.stderr
    assert (state / "journal.db").read_bytes() == before


def test_compaction_refuses_a_segment_of_another_format_in_one_line(state: Path) -> None:
    (path,) = segment.list_files(state / "segments")
    text = segment.load(path).replace(b'"schema":2', b'"schema":4')
    path.write_bytes(segment.compress(text))
    done = read(("ledger", "compact", "STATE", "--out", "STATE/days", "--site", "one", "--day", "2026-01-01"), state)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"{path}:1: expected segment schema 2 or 3, got 4; read it with the version that wrote it" in done.stderr
