"""Ctrl-C in a terminal ends agent, site process and doctor with their children, in order and without a traceback."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.sim import scenario
from energy_agent.sim.building import site
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import alive
from tests.support import eventually

NODE = b"""
boards: [{count: 2, sku: H100-SXM5-80GB}]
facility: {}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path_factory.mktemp("node") / "node") as running:
        yield running


class Terminal:
    """A command in the foreground of a pseudo-terminal of its own."""

    def __init__(self, *arguments):
        self.text = b""
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, "-m", "wattlens", *map(str, arguments)])
        self.pid, self.code = pid, None
        os.set_blocking(self.fd, False)

    def read(self):
        try:
            while chunk := os.read(self.fd, 4096):
                self.text += chunk
        except (BlockingIOError, OSError):
            pass
        return self.text.decode(errors="replace")

    def children(self):
        try:
            return [int(p) for p in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def interrupt(self):
        os.write(self.fd, b"\x03")

    def ended(self):
        self.read()
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def close(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def run():
    running = []

    def start(*arguments):
        running.append(Terminal(*arguments))
        return running[-1]

    yield start
    for terminal in running:
        terminal.close()


def interrupted(terminal):
    """What it writes after Ctrl-C, line by line, once it and its children have ended."""
    children, before = terminal.children(), len(terminal.read())
    terminal.interrupt()
    eventually(terminal.ended)
    eventually(lambda: not any(map(alive, children)))
    after = terminal.read()[before:].replace("^C", "")
    assert "Traceback" not in after
    assert "KeyboardInterrupt" not in after
    return [line for line in after.replace("\r", "\n").split("\n") if line.strip("\x1b[K ")]


def test_ctrl_c_ends_the_agent_and_its_reader(run, node, tmp_path):
    terminal = run("agent", "--simulate", node.directory, "--state", tmp_path / "state", "--listen", "127.0.0.1:0")
    eventually(lambda: "/metrics, state in" in terminal.read(), seconds=30)
    eventually(terminal.children)
    eventually(lambda: (tmp_path / "state" / "journal.db-wal").exists())
    lines = interrupted(terminal)
    assert terminal.code == 0
    assert len(lines) == 1
    assert lines[0].endswith("ended by SIGINT")


@pytest.mark.smoke
def test_ctrl_c_ends_the_site_process(run, node, tmp_path):
    (tmp_path / "site.yaml").write_text(json.dumps(site.site_config(node, name="dc1", period_s=5.0)))
    terminal = run(
        "site", "--config", tmp_path / "site.yaml", "--state", tmp_path / "site", "--listen", "127.0.0.1:0",
        "--simulate", node.directory,
    )  # fmt: skip
    eventually(lambda: "/metrics, state in" in terminal.read(), seconds=30)
    lines = interrupted(terminal)
    assert terminal.code == 0
    assert lines[-1].endswith("ended by SIGINT")
    assert all(" INFO " in line for line in lines), lines


@pytest.mark.parametrize("task", [("--sensors", "--for", "600s"), ("--overhead", "--for", "600s"), ("--acceptance",)])
def test_ctrl_c_ends_the_doctor_and_its_child(run, node, task):
    terminal = run("doctor", "--simulate", node.directory, *task)
    eventually(terminal.children, seconds=30)
    lines = interrupted(terminal)
    assert terminal.code == 130
    assert len(lines) <= 1, lines


def test_a_signal_to_its_group_ends_no_reader_before_the_agent(node, tmp_path):
    """As a shell's `kill -INT -PGID` and every terminal do."""
    command = ["agent", "--simulate", node.directory, "--state", tmp_path / "state", "--listen", "127.0.0.1:0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wattlens", *map(str, command)], stderr=log, stdout=log, start_new_session=True
        )
    try:
        eventually(lambda: "/metrics, state in" in (tmp_path / "log").read_text(), seconds=30)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text
    assert "reader ended" not in text
