"""`wattlens ledger ship --every`: what comes is copied, a storage that fails is tried again, SIGTERM ends it."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports import ledgers
from tests.support import eventually
from wattlens.cli import main

# SIGTERM at each moment of the wait between two rounds, up to the call that blocks.
STOP = """
import os, signal, sys
from wattlens.cli import main
from wattlens.cli.ledger import ship

moment = 0
last = False
while not last:
    moment += 1
    left = None

    def stop(frame, event, argument):
        global last, left
        if left is None and event == "call" and frame.f_code.co_name == "wait":
            left = moment
        if left is not None:
            left -= 1
            last = event == "c_call" and argument.__name__ == "select"
            if last or not left:
                sys.setprofile(None)
                os.kill(os.getpid(), signal.SIGTERM)

    sys.setprofile(stop)
    ship.LAST_S = 0.0
    print(main(["ledger", "ship", *sys.argv[1:], "--every", "1d"]))
"""


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    return ledgers.write(tmp_path / "state")


@pytest.fixture
def companion(segments: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Ships a folder that has the first segment."""
    (tmp_path / "source").mkdir()
    first = sorted(segments.iterdir())[0]
    shutil.copy(first, tmp_path / "source")
    command = [sys.executable, "-m", "wattlens", "ledger", "ship", str(tmp_path / "source"), f"file://{tmp_path}/store"]
    process = subprocess.Popen([*command, "--every", "0.12s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_what_comes_is_copied_until_sigterm(companion: "subprocess.Popen[str]", segments: Path, tmp_path: Path) -> None:
    first, second, third = sorted(segments.iterdir())
    eventually(lambda: names(tmp_path / "store") == [first.name])
    for path in (second, third):  # whole, or the companion may come upon half of one
        shutil.copy(path, tmp_path / "new")
        (tmp_path / "new").rename(tmp_path / "source" / path.name)
    eventually(lambda: names(tmp_path / "store") == [first.name, second.name, third.name])
    companion.send_signal(signal.SIGTERM)
    out, err = companion.communicate()
    assert companion.returncode == 0
    assert err == ""
    assert "1 segments copied" in out
    assert main(["ledger", "verify", str(tmp_path / "store")]) == 0


def test_the_segment_that_the_agent_writes_at_the_same_sigterm_is_copied(segments: Path, tmp_path: Path) -> None:
    first, second, _ = sorted(segments.iterdir())
    (tmp_path / "source").mkdir()
    shutil.copy(first, tmp_path / "source")
    shutil.copy(second, tmp_path / "new")
    command = [sys.executable, "-m", "wattlens", "ledger", "ship", str(tmp_path / "source"), f"file://{tmp_path}/store"]
    with subprocess.Popen([*command, "--every", "1d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: names(tmp_path / "store") == [first.name])
        process.send_signal(signal.SIGTERM)
        (tmp_path / "new").rename(tmp_path / "source" / second.name)
        _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert names(tmp_path / "store") == [first.name, second.name]


def test_it_ends_at_whatever_moment_of_its_wait_sigterm_comes(segments: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STOP, str(segments), f"file://{tmp_path}/store"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    codes = [line for line in done.stdout.splitlines() if "copied" not in line]
    assert (done.returncode, done.stderr) == (0, "")
    assert len(codes) > 1
    assert set(codes) == {"0"}


def test_failure_is_reported_and_retried(companion: "subprocess.Popen[str]", segments: Path, tmp_path: Path) -> None:
    first, second, _ = sorted(segments.iterdir())
    eventually(lambda: names(tmp_path / "store") == [first.name])
    damaged = tmp_path / "source" / second.name
    (tmp_path / "new").write_bytes(b"no segment")
    (tmp_path / "new").rename(damaged)
    assert companion.stderr is not None
    assert second.name in companion.stderr.readline()
    (tmp_path / "new").write_bytes(second.read_bytes())
    (tmp_path / "new").rename(damaged)
    eventually(lambda: names(tmp_path / "store") == [first.name, second.name])
    assert companion.poll() is None
