"""Ctrl-C in a real terminal: every command ends with one clean line at most, and with its exit code, whenever it is pressed."""

import fcntl
import os
import pty
import select
import socket
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from energy_agent.core import plugin
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port
from wattlens import cli

LAUNCH = """
import sys
from wattlens.cli import main
sys.addaudithook(lambda event, details: event == "import" and details[0] == "wattlens.cli._program" and print("up", flush=True))
sys.exit(main())
"""
PRESSED_WITHIN = """
import os, signal, sys
from wattlens.cli import main

function, count = sys.argv.pop(1), int(sys.argv.pop(1))

def press(frame, event, _):
    global count
    if event == "call" and frame.f_code.co_name == function:
        count -= 1
        if not count:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)

sys.setprofile(press)
sys.exit(main())
"""
CTRL_C = b"\x03"
LIMIT_S = 60.0


class Terminal:
    """A command in a pseudo-terminal of its own."""

    def __init__(self, arguments, cwd):
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, cwd=cwd, start_new_session=True, env=os.environ | {"TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.output = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def read_until(self, done):
        """Read on until `done()`, or the command has ended."""
        end_s = time.monotonic() + LIMIT_S
        while not done():
            assert time.monotonic() < end_s, self.output
            ended = self.process.poll() is not None
            if select.select([self._master], [], [], 0.02)[0]:
                try:
                    self.output += os.read(self._master, 65536)
                except OSError:  # the last one of its session has closed it
                    break
            elif ended:
                break

    def shows(self, marker):
        self.read_until(lambda: marker in self.output)
        assert marker in self.output, self.output

    def await_request(self, listener):
        self.read_until(lambda: select.select([listener], [], [], 0)[0])

    def press(self):
        """Ctrl-C; returns exit code and what was printed after it."""
        before = len(self.output)
        os.write(self._master, CTRL_C)
        self.read_until(lambda: False)
        return self.process.wait(LIMIT_S), self.output[before:].decode(errors="replace")


def press_at(marker, arguments, cwd):
    """Run a command, press Ctrl-C once it shows the marker; returns exit code and what was printed after it."""
    with Terminal(arguments, cwd) as terminal:
        terminal.shows(marker)
        return terminal.press()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node") / "node"
    with SimulatedNode.start(scenario.parse(b"boards: [{count: 1, sku: H100-SXM5-80GB}]\n", "test"), folder):
        yield folder


@contextmanager
def silent(path=None):
    """A server that takes connections and says nothing."""
    listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    with listener:
        listener.bind(str(path) if path else ("127.0.0.1", 0))
        listener.listen(8)
        yield listener


def lines(text):
    """What a person sees after Ctrl-C, without its echo and the codes that move the cursor."""
    plain = text.replace("^C", "").replace("\x1b[K", "").replace("\r", "\n")
    return [line for line in plain.split("\n") if line.strip()]


def clean(text):
    return "Traceback" not in text and "Exception ignored" not in text


# All commands have the same beginning; each third one is pressed at another time of it, and the others in the long run.
STARTS = [pytest.param(name, marks=[pytest.mark.smoke] if k % 3 else []) for k, name in enumerate(plugin.names(cli))]


@pytest.mark.parametrize("name", STARTS)
def test_at_its_start_a_command_ends_with_one_line_or_as_usual(name, tmp_path):
    early_s = 0.004 * (plugin.names(cli).index(name) % 15)
    with Terminal([name.replace("_", "-"), "--help"], tmp_path) as terminal:
        terminal.shows(b"up")
        time.sleep(early_s)  # what is tested is a press at any time
        code, text = terminal.press()
    assert clean(text), text
    assert code in (0, 130, -2)
    if code == 130:
        assert lines(text)[-1] == "wattlens: interrupted"


@pytest.mark.parametrize(
    "function", ["<module>", "cb", "__set_name__"]
)  # cb drops the lock of a module: exceptions are lost in it
def test_within_an_import_it_ends_with_one_line(function, tmp_path):
    for count in (1, 3, 10):
        command = [sys.executable, "-c", PRESSED_WITHIN, function, str(count), "agent", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT_S)
        assert (done.returncode, done.stderr) == (130, "wattlens: interrupted\n"), count


def services(node, folder):
    """Commands that run until they are stopped, and what they print once they run."""
    (folder / "site.yaml").write_text(f"web: {{listen: '127.0.0.1:{free_port()}'}}\n")
    (folder / "agent.yaml").write_text(f"web: {{listen: '127.0.0.1:{free_port()}'}}\n")
    agent = ["agent", "--simulate", node, "--state", folder / "state", "--config", folder / "agent.yaml"]
    return {
        "agent": (agent, b"/metrics"),
        "site": (["site", "--config", folder / "site.yaml", "--state", folder / "site"], b"/metrics"),
        "actuator": (
            ["actuator", "--simulate", node, "--socket", folder / "a.sock", "--state", folder / "act"],
            b"listening on",
        ),
        "top": (["top", "--simulate", node], b"GPU"),
        "sim start": (["sim", "start", "idle", "--dir", folder / "other", "--foreground"], b"Ctrl-C stops it"),
    }


@pytest.mark.parametrize("name", ["agent", "site", "actuator", "top", "sim start"])
def test_what_runs_until_it_is_stopped_ends_in_order(node, tmp_path, name):
    arguments, marker = services(node, tmp_path)[name]
    code, text = press_at(marker, arguments, tmp_path)
    assert (code, clean(text)) == (0, True), text


def test_what_waits_for_a_server_ends_at_once_with_one_line(node, tmp_path):
    (tmp_path / "token").write_text("t\n")
    grafana = ["--url", "URL", "--token-file", tmp_path / "token"]
    for arguments in (
        ["ledger", "import", "--prometheus", "URL", "--source", "dcgm"],
        ["usage", "--prometheus", "URL", "--from", "2026-01-01"],
        ["measure", "--simulate", node, "--tokens-from", "URL", "--", "sleep", "60"],
        ["dashboards", "push", *grafana],
    ):
        with silent() as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with Terminal([url if each == "URL" else each for each in arguments], tmp_path) as terminal:
                terminal.await_request(listener)
                code, text = terminal.press()
        assert (code, lines(text)[-1:]) == (130, ["wattlens: interrupted"]), (arguments, text)
        assert len(lines(text)) == 1, (arguments, text)


def test_what_waits_for_the_actuator_ends_at_once_with_one_line(tmp_path):
    for arguments in (["status"], ["off"], ["on"]):
        path = tmp_path / f"{arguments[0]}.sock"
        with silent(path) as listener, Terminal(["dvfs", *arguments, "--socket", path], tmp_path) as terminal:
            terminal.await_request(listener)
            code, text = terminal.press()
        assert (code, lines(text)) == (130, ["wattlens: interrupted"]), arguments


def test_a_file_that_is_still_written_can_be_given_up(tmp_path):
    for name in ("a", "b"):
        os.mkfifo(tmp_path / name)
    with Terminal(["compare", "a", "b"], tmp_path) as terminal:
        fd = os.open(tmp_path / "a", os.O_WRONLY)  # once the command has opened it
        # Python misses a signal that arrives between its own check and a call that blocks, so wait for that call.
        eventually(lambda: Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(")")[2].split()[0] in "SZ")
        code, text = terminal.press()
        os.close(fd)
    assert clean(text)
    assert code in (1, 2, 130)


def test_a_fault_that_is_held_ends_with_one_line(node, tmp_path):
    code, text = press_at(b"set; will be cleared", ["sim", "fault", "--dir", node, "gpu0", "lost", "--for", "50s"], tmp_path)
    assert (code, lines(text)) == (130, ["wattlens: interrupted"])


def test_the_first_build_of_the_simulator_ends_with_one_line(tmp_path, monkeypatch):
    """Ctrl-C reaches the compiler too."""
    (tmp_path / "cc").write_text("#!/bin/sh\necho compiling >/dev/tty; exec sleep 60\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for arguments in (["sim", "start", "idle", "--dir", "x", "--foreground"], ["demo", "--for", "10s"]):
        code, text = press_at(b"compiling", arguments, tmp_path)
        assert (code, lines(text)) == (130, ["wattlens: interrupted"]), arguments


@pytest.mark.parametrize("command", [["sim", "run", "--dir"], ["measure", "--simulate"]])
def test_the_program_decides_and_its_result_is_shown(node, tmp_path, command):
    program = ["sh", "-c", "trap 'echo over; exit 7' INT; echo running; while :; do sleep 0.05; done"]
    code, text = press_at(b"running", [*command, node, "--", *program], tmp_path)
    assert (code, clean(text), "over" in text) == (7, True, True)
    assert ("joules" in text) == (command[0] == "measure")
    code, text = press_at(b"running", [*command, node, "--", "sh", "-c", "echo running; exec sleep 60"], tmp_path)
    assert (code in (130, -2), clean(text)) == (True, True)


def test_a_measurement_that_has_not_begun_ends_with_one_line(node, tmp_path):
    """At any time before the program runs: the sampler, a child, has no part in it."""
    for early_s in (0.05, 0.15, 0.25, 0.35):
        with Terminal(["measure", "--simulate", node, "--", "sleep", "0.2"], tmp_path) as terminal:
            terminal.shows(b"up")
            time.sleep(early_s)
            code, text = terminal.press()
        assert clean(text), text
        assert (code, "joules" in text) in ((130, True), (130, False), (0, True)), text
        assert "joules" in text or lines(text) == ["wattlens: interrupted"]


def test_once_a_measurement_is_shown_it_ends_as_it_would_have(node, tmp_path):
    """Ctrl-C while Python ends: the sampler is waited for then."""
    command = [sys.executable, "-c", PRESSED_WITHIN, "_ended", "1", "measure", "--simulate", node, "--", "sh", "-c", "exit 7"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT_S)
    assert (done.returncode, "joules" in done.stderr, clean(done.stderr)) == (7, True, True), done.stderr
