"""What top reads of its own machine: hostile texts stay printable and bounded, and other machines have a reason."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_agent.core.text import is_printable
from tests.snapshots import Player
from tests.support import examples
from tests.wattlens.top.frames import play
from wattlens.top.local import COMMAND_MAX, HostReader, ListedProcess, LocalReader, ProcessReader

MEMINFO = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n"


def add_process(procfs: Path, pid: int, command: bytes, ticks: int = 0, started: int = 100) -> None:
    folder = procfs / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    fields = ["S", *["0"] * 10, str(ticks), "0", *["0"] * 6, str(started), "0", "256", *["0"] * 20]
    (folder / "stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}\n")
    (folder / "cmdline").write_bytes(command)
    (folder / "comm").write_bytes(b"worker\x1b[2J\n")


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    (tmp_path / "stat").write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n")
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "loadavg").write_text("1.50 2.25 3.00 2/300 4000\n")
    (tmp_path / "uptime").write_text("1000.00 2000.00\n")
    return tmp_path


def test_cpu_is_of_the_time_between_two_readings(procfs: Path) -> None:
    reader = HostReader(procfs)
    first = reader.read()
    (procfs / "stat").write_text("cpu  130 0 120 740 110 0 0 0 0 0\n")  # 50 busy of 100
    second = reader.read()
    assert first is not None
    assert second is not None
    assert (first.cpu_ratio, second.cpu_ratio) == (None, 0.5)
    assert (second.memory_used_b, second.memory_total_b) == (600 * 1024, 1000 * 1024)
    assert (second.swap_used_b, second.load) == (30 * 1024, (1.5, 2.25, 3.0))


@pytest.mark.parametrize("broken", ["stat", "meminfo", "loadavg"])
def test_a_host_that_cannot_be_read_is_absent(procfs: Path, broken: str) -> None:
    (procfs / broken).write_text("")
    assert HostReader(procfs).read() is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50), deadline=None)
@given(st.binary(max_size=3 * COMMAND_MAX))
def test_a_command_is_printable_and_bounded(procfs: Path, command: bytes) -> None:
    add_process(procfs, 7, command)
    (process,) = ProcessReader(procfs).read([ListedProcess("0", 7, 10, None)])
    assert is_printable(process.command)
    assert is_printable(process.user)
    assert len(process.command) <= COMMAND_MAX


def test_a_process_on_several_gpus_is_one_row_and_on_mig_one_per_instance(procfs: Path) -> None:
    add_process(procfs, 7, b"python\0train.py\0")
    add_process(procfs, 8, b"")
    listed = [ListedProcess("0", 7, 10, None), ListedProcess("1", 7, 20, None), ListedProcess("2", 8, 5, 1),
              ListedProcess("2", 8, 6, 2), ListedProcess("3", 9, None, None)]  # fmt: skip
    rows = ProcessReader(procfs).read(listed)
    assert [(p.pid, p.gpus, p.gpu_memory_b, p.gpu_instance) for p in rows] == [
        (7, ("0", "1"), 30.0, ""), (8, ("2",), 5.0, "1"), (8, ("2",), 6.0, "2"), (9, ("3",), None, ""),
    ]  # fmt: skip
    assert rows[0].command == "python train.py"
    assert rows[1].command == "[worker?[2J]"
    assert (rows[3].command, rows[3].cpu_ratio) == ("not visible from here", None)


def test_a_reused_pid_is_another_process(procfs: Path) -> None:
    reader, listed = ProcessReader(procfs), [ListedProcess("0", 7, 10, None)]
    add_process(procfs, 7, b"old", ticks=500)
    assert reader.read(listed)[0].command == "old"
    add_process(procfs, 7, b"same process, new title", ticks=600)
    (again,) = reader.read(listed)
    assert again.command == "old"  # read once per process
    assert again.cpu_ratio is not None
    assert again.cpu_ratio > 0
    add_process(procfs, 7, b"new", ticks=1, started=200)
    (new,) = reader.read(listed)
    assert (new.command, new.cpu_ratio) == ("new", None)


def test_gpus_of_another_machine_have_no_processes_and_no_host(tmp_path: Path) -> None:
    reader = LocalReader(tmp_path / "libnvidia-ml.so.1")  # there is no such library
    frame = play(Player(gpus=3))
    reader.follow(frame)
    status = reader.read()
    assert (status.host, status.processes) == (None, ())
    assert "not on this machine" in status.reason
    reader.follow(replace(frame, gpus=()))
    assert "no GPU" in reader.read().reason
