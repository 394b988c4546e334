"""The kill switch counts in each of its places."""

import os
from pathlib import Path

import pytest

from dvfs.actuator.kill_switch import KillSwitch


def test_any_of_its_files_turns_steering_off(tmp_path: Path) -> None:
    first, second = tmp_path / "state/dvfs.off", tmp_path / "run/dvfs.off"
    switch = KillSwitch([first, second, first])
    assert (switch.is_on(), switch.path) == (False, first), "also where its folder does not exist"
    for path in (first, second):
        path.parent.mkdir()
    second.touch()
    assert (switch.is_on(), switch.path) == (True, second)
    first.symlink_to(tmp_path / "gone")
    assert (switch.is_on(), switch.path) == (True, first), "a link to nothing counts"
    first.unlink()
    second.unlink()
    assert not switch.is_on()
    assert (KillSwitch().is_on(), KillSwitch().path) == (False, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_place_that_cannot_be_read_counts_as_on(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    switch = KillSwitch([tmp_path / "state/dvfs.off"])
    assert not switch.is_on()
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        os._exit(7 if switch.is_on() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
