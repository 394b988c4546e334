"""The units are right by systemd's own judgement, run commands that exist, and the agent speaks systemd's protocol."""

import configparser
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dvfs.actuator.client import default_socket
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess
from tests.support import eventually, need_program
from tests.test_readme import _check
from wattlens.agent.systemd import Service

FOLDER = Path(__file__).parents[2] / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
TIMERS = sorted(FOLDER.glob("*.timer"))
PROGRAM = "/opt/wattlens/bin/wattlens"


def section(unit: Path, name: str = "Service") -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return dict(parser[name])


def test_every_unit_is_there() -> None:
    assert [unit.stem for unit in UNITS] == [
        "wattlens-actuator",
        "wattlens-agent",
        "wattlens-compact",
        "wattlens-report@",
        "wattlens-ship",
        "wattlens-site",
        "wattlens-slurm",
    ]
    assert [timer.stem for timer in TIMERS] == ["wattlens-compact", "wattlens-report@current", "wattlens-report@last"]


@pytest.mark.peer
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    program = need_program("systemd-analyze")
    copy = tmp_path / unit.name  # the program is not installed where the unit expects it
    copy.write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    command = [program, "verify", "--recursive-errors=no", "--man=no", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    copy.write_text(copy.read_text().replace("KillMode=", "KilMode="))
    command = [program, "verify", "--recursive-errors=no", "--man=no", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "KilMode" in done.stderr, "the check sees what is wrong"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_their_commands_exist(unit: Path) -> None:
    commands = [value for key, value in section(unit).items() if key in ("ExecStart", "ExecStopPost")]
    for command in commands:
        program, *words = command.split()
        assert program == PROGRAM
        _check(words)


def test_what_the_agent_keeps_and_gives_up() -> None:
    agent, actuator = section(FOLDER / "wattlens-agent.service"), section(FOLDER / "wattlens-actuator.service")
    assert (agent["CapabilityBoundingSet"], actuator["CapabilityBoundingSet"]) == ("", "CAP_SYS_ADMIN")
    for service in (agent, actuator):
        assert (service["NoNewPrivileges"], service["ProtectSystem"], service["DevicePolicy"]) == ("yes", "strict", "closed")
        assert not {"PrivateDevices", "ProtectProc", "ProcSubset"} & service.keys(), "NVML and holders would see nothing"
    assert (agent["Type"], agent["NotifyAccess"]) == ("notify", "main")
    assert actuator["ExecStopPost"].endswith("dvfs restore")


def test_no_unit_removes_the_runtime_folder_of_another() -> None:
    """systemd removes the innermost folder of RuntimeDirectory= when a unit stops."""
    folders = {unit.stem: section(unit).get("RuntimeDirectory") for unit in UNITS}
    directories = [Path(folder) for folder in folders.values() if folder]
    assert len(directories) >= 2
    assert not [(a, b) for a in directories for b in directories if a is not b and b.is_relative_to(a)]
    actuator = section(FOLDER / "wattlens-actuator.service")
    socket = Path("/run") / actuator["RuntimeDirectory"] / "actuator.sock"
    if os.geteuid() == 0:
        assert socket == default_socket(), "where the agent looks for it"
    assert actuator["StateDirectory"] == "wattlens/actuator", "the kill switch is there, and outlives the unit"
    assert "--state" not in actuator["ExecStart"]


def test_the_site_has_no_privilege_at_all() -> None:
    site = section(FOLDER / "wattlens-site.service")
    assert (site["DynamicUser"], site["CapabilityBoundingSet"], site["PrivateDevices"]) == ("yes", "", "yes")
    assert (site["ProtectSystem"], site["NoNewPrivileges"], site["Type"]) == ("strict", "yes", "notify")


@pytest.mark.peer
@pytest.mark.parametrize("timer", TIMERS, ids=lambda timer: timer.stem)
def test_systemd_knows_when_a_timer_goes_off(timer: Path, tmp_path: Path) -> None:
    program = need_program("systemd-analyze")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    copy = tmp_path / timer.name
    copy.write_text(timer.read_text())
    command = [program, "verify", "--recursive-errors=no", "--man=no", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    when = section(timer, "Timer")["OnCalendar"]
    done = subprocess.run([program, "calendar", "--base-time", "2026-09-30 12:00:00 UTC", "--iterations", "3", when],
                          env={**os.environ, "TZ": "UTC"}, capture_output=True, text=True, check=True)  # fmt: skip
    assert (
        re.findall(r"(?:Next elapse|Iteration #\d+): (.*) UTC", done.stdout)
        == {
            "wattlens-compact": ["Thu 2026-10-01 03:30:00", "Fri 2026-10-02 03:30:00", "Sat 2026-10-03 03:30:00"],
            "wattlens-report@last": ["Fri 2026-10-02 06:00:00", "Sat 2027-01-02 06:00:00", "Fri 2027-04-02 06:00:00"],
            "wattlens-report@current": ["Mon 2026-10-05 06:00:00", "Mon 2026-10-12 06:00:00", "Mon 2026-10-19 06:00:00"],
        }[timer.stem]
    )


def test_the_jobs_have_no_privilege_and_share_a_folder() -> None:
    compact, report = section(FOLDER / "wattlens-compact.service"), section(FOLDER / "wattlens-report@.service")
    for job in (compact, report):
        assert (job["Type"], job["DynamicUser"], job["CapabilityBoundingSet"]) == ("oneshot", "yes", "")
        assert (job["ProtectSystem"], job["NoNewPrivileges"], job["PrivateDevices"]) == ("strict", "yes", "yes")
        assert "WatchdogSec" not in job
    assert (compact["User"], compact["StateDirectory"]) == (report["User"], report["StateDirectory"])
    words = {
        unit: section(FOLDER / unit)["ExecStart"].split() for unit in ("wattlens-compact.service", "wattlens-report@.service")
    }
    output_dir = words["wattlens-compact.service"][words["wattlens-compact.service"].index("--out") + 1]
    assert output_dir in words["wattlens-report@.service"], "the report reads what was compacted"


class Manager:
    """systemd's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.messages: list[str] = []

    def heard(self) -> list[str]:
        while True:
            try:
                self.messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.messages

    def count(self, word: str) -> int:
        return sum(word in message.split("\n") for message in self.heard())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    service_manager = Manager(tmp_path / "notify")
    yield service_manager
    service_manager.socket.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SimulatedNode]:
    (tmp_path / "scenario.yaml").write_text("description: one\nboards: [{count: 1, sku: H100-SXM5-80GB}]\nseed: 5\n")
    with SimulatedNode.start(scenario.load(str(tmp_path / "scenario.yaml")), tmp_path / "node") as running:
        yield running


def environ(pid: int) -> bytes:
    """Empty when the process has ended meanwhile."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def threads_of(pid: int) -> set[str]:
    """States of its threads, as ps shows them."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def test_agent_notifies_ready_watchdog_and_stopping(
    node: SimulatedNode, manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with AgentProcess(tmp_path / "state", node.directory) as agent:
        eventually(lambda: manager.count("READY=1") == 1)
        eventually(lambda: manager.count("WATCHDOG=1") >= 3)
        eventually(lambda: manager.count("STATUS=1 of 1 GPUs respond"))
        environs = eventually(lambda: [e for pid in agent.children() if (e := environ(pid))])
        assert not any(b"NOTIFY_SOCKET" in e for e in environs)
        agent.process.send_signal(signal.SIGSTOP)
        eventually(lambda: threads_of(agent.process.pid) == {"T"})
        fed = manager.count("WATCHDOG=1")
        time.sleep(1.5)
        assert manager.count("WATCHDOG=1") == fed, "who does not turn does not feed"
        agent.process.send_signal(signal.SIGCONT)
        eventually(lambda: manager.count("WATCHDOG=1") > fed)
        assert manager.count("STOPPING=1") == 0
        code, _ = agent.terminate(within_s=60)
    assert code == 0
    assert (manager.count("STOPPING=1"), manager.count("READY=1")) == (1, 1)


def test_service_without_manager_sends_nothing() -> None:
    service = Service({})
    service.progressed(1, "well")
    service.stopping()


def test_the_address_may_be_abstract_and_goes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"wattlens-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0{name}")
        environ = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1", "PATH": "x"}
        service = Service(environ)
        assert environ == {"PATH": "x"}
        service.progressed(1, "well")
        service.progressed(2, "well")
        service.stopping()
        service.stopping()
        end.setblocking(False)
        datagrams = [end.recv(4096), end.recv(4096)]
        with pytest.raises(BlockingIOError):
            end.recv(4096)
    assert datagrams == [b"READY=1\nSTATUS=well", b"STOPPING=1"], "the watchdog is another process's"


def test_the_watchdog_is_fed_by_progress_alone() -> None:
    name = f"wattlens-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0{name}")
        end.setblocking(False)
        service = Service({"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1"})  # due at every turn
        for sequence in (1, 1, 1, 2, 2):
            service.progressed(sequence, "well")
        service.stopping()
        messages = [end.recv(4096) for _ in range(4)]
        with pytest.raises(BlockingIOError):
            end.recv(4096)
    assert [m.partition(b"\n")[0] for m in messages] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_service_survives_a_missing_manager(tmp_path: Path) -> None:
    service = Service({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000"})
    service.progressed(1, "well")
    service.stopping()
    assert sys.exc_info() == (None, None, None)
