"""A report in its folder: old whole, new whole, or seen to be unfinished, at whatever instant the run is killed."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError, WattlensError
from reports.audit.placing import put, refuse_folders, writing
from reports.audit.verification import verify
from tests.reports.audit import editions

NAMES = (*editions.FORMS, "report.pdf", "manifest.json", "manifest.sig")
KILLED = """
import os, signal, sys
from pathlib import Path
from reports.audit.placing import put
left = int(sys.argv[3])

def watch(event, args):
    global left
    if event in ("os.rename", "os.remove"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
put(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4].split(","))
"""


def scratch_of(folder: Path, name: str = ".report-1-aaaaaaaa") -> Path:
    editions.write(folder / name, editions.late_and_revised())
    return folder / name


def texts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def killed(folder: Path, steps: int) -> bool:
    """Whether the run was killed, by itself before its step of that number."""
    words = [str(scratch_of(folder)), str(folder), str(steps), ",".join(NAMES)]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


def test_a_run_that_is_killed_at_any_step_leaves_the_old_report_or_the_new_or_none(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    editions.write(whole, editions.late_and_revised())
    new = texts(whole)
    states = []
    for steps in range(20):
        folder = tmp_path / str(steps)
        editions.write(folder)
        old = texts(folder)
        cut = killed(folder, steps)
        verification = verify(folder)
        state = "old" if texts(folder) == old else "new" if texts(folder) == new else "unfinished"
        states.append(state)
        if state == "unfinished":
            assert [c.detail for c in verification.checks] == ["no manifest: the report is incomplete; create it again"]
        else:
            assert verification.ok
        put(scratch_of(folder, ".report-2-bbbbbbbb"), folder, NAMES)  # the next run, into what was left
        assert texts(folder) == new
        assert verify(folder).ok
        assert not (folder / ".report-1-aaaaaaaa").exists()
        if not cut:
            break
    # The old manifest goes, then its signature, three files come, and only the last step, the new manifest, makes it whole.
    assert states == ["old", *["unfinished"] * 5, "new"]


def test_what_the_old_manifest_names_goes_and_what_is_somebodys_stays(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_text("of somebody")
    put(scratch_of(tmp_path), tmp_path, NAMES)
    assert (tmp_path / "report.pdf").read_text() == "of somebody"
    scratch = scratch_of(tmp_path, ".report-2-bbbbbbbb")
    (scratch / "report.html").unlink()
    put(scratch, tmp_path, NAMES)
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "report.pdf").read_text() == "of somebody"


def test_a_file_of_a_report_that_was_cut_off_is_not_left_behind(tmp_path: Path) -> None:
    editions.write(tmp_path)
    assert killed(tmp_path, 2)
    scratch = scratch_of(tmp_path, ".report-2-bbbbbbbb")
    (scratch / "report.html").unlink()
    put(scratch, tmp_path, NAMES)
    assert not (tmp_path / "report.html").exists()


def test_folders_with_other_names_stay(tmp_path: Path) -> None:
    for name in (".report-mine", ".reports", "report-1-aaaaaaaa"):
        (tmp_path / name).mkdir()
    (tmp_path / ".report-1-cccccccc").symlink_to(tmp_path / ".reports")
    put(scratch_of(tmp_path), tmp_path, NAMES)
    names = {path.name for path in tmp_path.iterdir() if path.is_dir()} - {".report-1-aaaaaaaa"}
    assert names == {".report-mine", ".reports", "report-1-aaaaaaaa", ".report-1-cccccccc"}


def test_a_second_run_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(WattlensError, match="another run is writing a report there"), writing(tmp_path):
        pass
    os.close(handle)
    with writing(tmp_path):
        pass


@pytest.mark.parametrize("name", ["facts.json", "report.pdf", "manifest.json"])
def test_a_folder_under_the_name_of_a_file_is_wrong_usage(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=f"{name} is not a file"):
        refuse_folders(tmp_path, NAMES)


def test_a_link_or_a_pipe_under_the_name_of_a_file_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"report\.pdf is not a file but a symbolic link"):
        refuse_folders(tmp_path, NAMES)
    (tmp_path / "report.pdf").unlink()
    os.mkfifo(tmp_path / "report.pdf")
    with pytest.raises(UsageError, match=r"report\.pdf is not a file but a named pipe"):
        refuse_folders(tmp_path, NAMES)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/null/x"])
def test_a_folder_that_is_none_is_wrong_usage(path: str) -> None:
    with pytest.raises(UsageError, match=f"--out {path}: "), writing(Path(path)):
        pass


def test_a_disk_that_is_full_is_no_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WattlensError, match="No space left on device") as caught, writing(tmp_path):
        Path("/dev/full").write_bytes(b"x")
    assert caught.value.exit_code == 1
