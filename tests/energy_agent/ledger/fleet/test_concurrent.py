"""Several runs compact the same day at a time, as real processes; one of them may be killed midway."""

import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from energy_agent.core.errors import WattlensError
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.sites import Sites
from tests.energy_agent.ledger.shared_folder import HOUR_UJ, book, shared

__all__ = ["shared"]
DAY = date(2026, 1, 1)
RUN = """
import sys
from tests.energy_agent.ledger.fleet.test_concurrent import run
from pathlib import Path

def wait(done, _):
    if done == 3:  # within the second node: the rows of the first are written
        print("midway", flush=True)
        sys.stdin.readline()

run(Path(sys.argv[1]), progress=wait)
"""


def run(folder, out="days", **options):
    (result,) = compact_days(index.build([folder / "segments"]), folder / out, [DAY], Sites({}, "here"), **options)
    return result.statements


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(shared):
    for name in ("a", "b"):
        book(shared, name, range(2))
    return shared.parent


@pytest.fixture
def midway(folder):
    """A process that has written half of the day."""
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"midway\n"
    assert len(list((folder / "days/here").iterdir())) == 1
    yield process
    process.kill()
    process.communicate()


def test_two_processes_write_one_statement(folder, midway):
    (first,) = run(folder)
    assert (first.written, first.energy_uj) == (True, 4 * HOUR_UJ)
    midway.communicate(b"\n")
    assert midway.returncode == 0
    run(folder, out="alone")
    assert contents(folder / "days") == contents(folder / "alone")


def test_draft_of_a_killed_process_is_removed_and_of_a_live_one_is_not(folder, midway):
    (statement,) = run(folder)
    assert len(list((folder / "days/here").iterdir())) == 2, "the process still writes"
    midway.send_signal(signal.SIGKILL)
    midway.communicate()
    (again,) = run(folder)
    assert (again.written, again.folder) == (False, statement.folder)
    run(folder, out="alone")
    assert contents(folder / "days") == contents(folder / "alone")


def test_run_between_comparison_and_publication_is_not_overwritten(folder, monkeypatch):
    def meanwhile(change):
        """Publish a statement right before that of this run gets its name."""
        rename = Path.rename

        def publish_first(path, target):
            if target.name == "r0000":
                monkeypatch.setattr(Path, "rename", rename)
                change()
                run(folder)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", publish_first)

    meanwhile(lambda: None)
    (statement,) = run(folder)
    assert (statement.written, statement.number) == (False, 0)
    (folder / "days/here/2026-01-01/r0000").rename(folder / "moved")
    meanwhile(lambda: book(folder / "segments", "c", range(2)))
    with pytest.raises(WattlensError, match=r"r0000: another run wrote it meanwhile \(input changed: .* 2 removed"):
        run(folder)
    (later,) = run(folder)
    assert (later.written, later.energy_uj, len(list((folder / "days/here").iterdir()))) == (False, 6 * HOUR_UJ, 1)
