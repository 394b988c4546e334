"""`wattlens top` as a user runs it: on a terminal that changes its size, with keys and signals; printed; without an agent."""

import codecs
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from energy_agent.web.server import WebServer
from tests.energy_agent.web.test_server import Still
from tests.snapshots import Player
from tests.support import eventually, free_port, need_program, said_here
from wattlens.agent_access import AgentAccess
from wattlens.cli._options import AGENT_URL
from wattlens.top.agent import is_answering

pytestmark = pytest.mark.timeout(360)

COMMAND = (sys.executable, "-m", "wattlens", "top")


class Live(Player):
    """A player that counts with real time."""


@pytest.fixture
def url() -> Iterator[str]:
    player = Live(gpus=16, lost={3})
    with WebServer("127.0.0.1", 0, player.now, Still()) as server:
        yield f"http://127.0.0.1:{server.port}/metrics"


class Terminal:
    """A pseudo terminal with `wattlens top` in it; `seen` is all it wrote."""

    def __init__(
        self, *arguments: str, columns: int = 80, lines: int = 24, command: tuple[str, ...] = COMMAND, **environ: str
    ) -> None:
        self.ours, theirs = pty.openpty()
        self.resize(columns, lines)
        self.mode = termios.tcgetattr(theirs)
        env = os.environ | {"TERM": "xterm"} | environ
        self.process = subprocess.Popen([*command, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        self.theirs, self.output = theirs, ""
        self.decode = codecs.getincrementaldecoder("utf-8")().decode
        os.set_blocking(self.ours, False)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self) -> str:
        with suppress(BlockingIOError):
            self.output += self.decode(os.read(self.ours, 1 << 16))
        return self.output

    def until(self, text: str) -> None:
        eventually(lambda: text in self.read())

    def press(self, keys: str) -> None:
        self.output = ""
        os.write(self.ours, keys.encode())

    def ended(self) -> int:
        eventually(lambda: self.read() is not None and self.process.poll() is not None)
        self.read()
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(url: str) -> Iterator[Terminal]:
    running = Terminal("--url", url)
    yield running
    running.close()


def is_restored(terminal: Terminal) -> bool:
    mode = termios.tcgetattr(terminal.theirs)
    return terminal.output.endswith("\x1b[0m\x1b[?25h\x1b[?1049l") and mode == terminal.mode


def test_keys_and_sizes(terminal: Terminal) -> None:
    terminal.until("DOWN: GPU_IS_LOST")
    assert "\x1b[?1049h" in terminal.output
    terminal.until("+")  # rows that have no room
    terminal.press("s")
    terminal.until("s order: power")
    terminal.press("h")
    terminal.until("any kernel ran")
    terminal.press("\x1b")
    terminal.until("WHY SLOWER")
    terminal.press("\x1b[B\r")  # down, Enter: the first row's details
    terminal.until("Architecture")
    terminal.press("\r")
    terminal.until("WHY SLOWER")
    terminal.press("\t\r")  # the next table
    terminal.until("Training steps")
    terminal.press("\x1b")
    terminal.until("WHY SLOWER")
    terminal.press("\x1b[A")  # up, to the last GPU
    terminal.until("above")
    terminal.press("p")
    terminal.until("PAUSED")
    terminal.press("x\x1b[17~")  # keys without a meaning
    terminal.output = ""
    terminal.resize(200, 50)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.until("POWER HISTORY")  # this column needs a wide terminal
    terminal.press("q")
    assert terminal.ended() == 0
    assert is_restored(terminal)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_restores_the_terminal(terminal: Terminal, number: signal.Signals) -> None:
    terminal.until("WHY SLOWER")
    terminal.process.send_signal(number)
    assert terminal.ended() == 0
    assert is_restored(terminal)


def test_an_agent_that_stops_leaves_no_old_number_and_may_return(url: str) -> None:
    player, port = Live(gpus=3), free_port()
    server = WebServer("127.0.0.1", port, player.now, Still())
    server.start()
    terminal = Terminal("--url", f"http://127.0.0.1:{port}", "--interval", "0.3s")
    try:
        terminal.until("WHY SLOWER")
        server.stop()
        terminal.output = ""
        terminal.until("NO FRESH READING")
        terminal.until("too old to show")
        terminal.output = ""
        server = WebServer("127.0.0.1", port, player.now, Still())
        server.start()
        terminal.until("WHY SLOWER")
    finally:
        terminal.close()
        server.stop()


def test_an_exception_restores_the_terminal(url: str) -> None:
    """An exception inside the view, of whatever kind."""
    code = (
        "import wattlens.top.run as run\n"
        "from wattlens.cli import main\n"
        "def broken(*_): raise ZeroDivisionError('broken')\n"
        "run.apply_key = broken\n"
        f"main(['top', '--url', {url!r}])\n"
    )
    ours, theirs = pty.openpty()
    mode = termios.tcgetattr(theirs)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
                               env=os.environ | {"TERM": "xterm"})  # fmt: skip
    os.set_blocking(ours, False)
    output = b""

    def look() -> bytes:
        nonlocal output
        with suppress(BlockingIOError):
            output += os.read(ours, 1 << 16)
        return output

    eventually(lambda: b"WHY SLOWER" in look())
    os.write(ours, b"s")
    _, error = process.communicate()
    assert b"ZeroDivisionError" in error
    assert look().endswith(b"\x1b[?25h\x1b[?1049l")
    assert termios.tcgetattr(theirs) == mode
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_turns_colours_off(url: str, environ: dict[str, str], coloured: bool) -> None:
    terminal = Terminal("--url", url, **({"NO_COLOR": ""} | environ))
    terminal.until("DOWN: GPU_IS_LOST")
    terminal.close()
    assert ("\x1b[1;31m" in terminal.output) == coloured
    for code in ("31", "32", "33"):
        assert f"\x1b[{code}m" not in terminal.output or coloured


@pytest.mark.parametrize(("locale", "ascii_only"), [("C.UTF-8", False), ("C", True)])
def test_block_characters_only_if_the_locale_has_them(url: str, locale: str, ascii_only: bool) -> None:
    terminal = Terminal("--url", url, columns=160, LC_ALL=locale)
    terminal.until("q quit")
    terminal.close()
    assert terminal.output.isascii() == ascii_only


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | environ)  # fmt: skip


def test_without_a_terminal_it_prints_one_snapshot(url: str) -> None:
    done = run("--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "15 of 16 GPUs" in done.stdout
    assert "not on this machine" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_dumb_terminal_gets_one_snapshot(url: str) -> None:
    terminal = Terminal("--url", url, TERM="dumb")
    assert terminal.ended() == 0
    assert "GPU_IS_LOST" in terminal.output
    assert "\x1b" not in terminal.output
    terminal.close()


def test_json_is_one_document_or_a_line_each_time(url: str) -> None:
    document = json.loads(said_here("top", "--url", url, "--once", "--json").stdout)
    assert [gpu["up"] for gpu in document["gpus"]] == [n != 3 for n in range(16)]
    assert document["gpus"][3]["power_w"] is None
    process = subprocess.Popen([*COMMAND, "--url", url, "--json", "--interval", "0.2s"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.terminate()
    process.wait(60)
    process.stdout.close()
    assert {line["node"]["gpus"] for line in lines} == {16}


NODE = """
description: Two H100 for training, one in MIG mode and one that serves
boards:
  - {count: 4, sku: H100-SXM5-80GB}
seed: 5
workloads:
  - {name: train-llama, kind: training, gpus: [0, 1], cgroup: systemd, memory_gb: 70, step_s: 0.6}
  - {name: chat-qwen, kind: serving, gpus: [3], cgroup: docker, model: Qwen/Qwen3-32B, rate_per_s: 3.0}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedNode]:
    folder = tmp_path_factory.mktemp("top")
    with SimulatedNode.start(scenario.parse(NODE.encode(), "top"), folder / "node") as running:
        running.fault(2, "mig", value=321)
        running.fault(0, "ecc_uncorrected", value=3)
        yield running


def test_a_private_agent_shows_a_node_with_mig_ecc_training_and_a_server(node: SimulatedNode) -> None:
    terminal = Terminal("--simulate", str(node.directory), columns=160, lines=50)
    try:
        terminal.until("train-llama")
        terminal.until("ECC")  # health is read within ten seconds
        terminal.until("MIG: 3g.40gb #1, 2g.20gb #2, 1g.10gb #3")
        for pid in (w["pid"] for w in node.workloads()):
            terminal.until(f"{pid} ")
        assert re.search(r"host CPU", terminal.read())
        terminal.press("\x1b[B\r")
        terminal.until("3 uncorrected")
        terminal.press("q")
        assert terminal.ended() == 0
        assert is_restored(terminal)
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("is_started", [False, True])
def test_a_signal_without_a_screen_leaves_nothing_of_a_private_agent(
    node: SimulatedNode, tmp_path: Path, number: signal.Signals, is_started: bool
) -> None:
    command = [*COMMAND, "--simulate", str(node.directory), "--json", "--interval", "0.2s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)}) as process:
        assert process.stdout is not None
        if is_started:
            process.stdout.readline()
        eventually(lambda: any(tmp_path.glob("wattlens-top-*/agent.log")))
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_with_no_agent_it_reads_this_machine_by_a_private_one(node: SimulatedNode) -> None:
    """In an environment whose NVML is a simulated node's it is that node."""
    if is_answering(AgentAccess(AGENT_URL)):
        pytest.skip(f"an agent answers at {AGENT_URL}")
    done = run("--once", "--json", **node.environ())
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [gpu["up"] for gpu in document["gpus"]] == [True] * 4
    assert document["gpus"][2]["power_w"] > 0
    processes = {(process["pid"], tuple(process["gpus"])) for process in document["local"]["processes"]}
    assert processes == {(w["pid"], tuple(map(str, w["gpus"]))) for w in node.workloads()}
    assert document["local"]["host"]["memory_total_b"] > 0
    done = run("--once", WATTLENS_SIM="")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no agent responds" in done.stderr
    assert "NVML" in done.stderr


@pytest.mark.peer
def test_on_tmux_it_looks_as_drawn(url: str) -> None:
    """A real terminal emulator shows the frame, at two sizes, and the shell again afterwards."""
    tmux = [need_program("tmux"), "-L", f"wattlens-{os.getpid()}"]

    def ask(*words: str) -> str:
        return subprocess.run([*tmux, *words], capture_output=True, text=True, check=True).stdout

    command = " ".join([*COMMAND, "--url", url])
    ask(
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-x",
        "80",
        "-y",
        "24",
        f"echo before; TERM=screen {command}; echo after; sleep 60",
    )
    try:
        eventually(lambda: "DOWN: GPU_IS_LOST" in ask("capture-pane", "-p"))
        screen = ask("capture-pane", "-p").rstrip("\n").split("\n")
        assert screen[0].startswith("wattlens top")
        assert screen[-1].startswith("q quit")
        assert len(screen) == 24
        ask("resize-window", "-x", "200", "-y", "50")
        eventually(lambda: ask("capture-pane", "-p").rstrip("\n").count("\n") == 49)
        eventually(lambda: "POWER HISTORY" in ask("capture-pane", "-p"))
        ask("send-keys", "q")
        eventually(lambda: "after" in ask("capture-pane", "-p"))
        screen = ask("capture-pane", "-p")
        assert "before" in screen
        assert "wattlens top" not in screen
    finally:
        ask("kill-server")
        time.sleep(0.1)
