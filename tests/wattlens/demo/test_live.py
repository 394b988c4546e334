"""The demo's readings: names of the scenario, a line without a terminal, and a caption above the screen of `wattlens top`."""

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from energy_agent.core.text import is_printable
from energy_agent.web.server import WebServer
from tests.energy_agent.web.test_server import Still
from tests.snapshots import Player
from tests.wattlens.top.frames import play, response_at
from tests.wattlens.top.test_run import Terminal, is_restored
from wattlens.demo.run import NamedHistory, describe

SHOW = """
import sys
from wattlens.demo.run import NamedHistory
from wattlens.agent_access import AgentAccess
from wattlens.top.agent import TopAgent, TopReader
from wattlens.top.local import LocalReader
from wattlens.top.run import show
reader, history = TopReader.of(TopAgent(AgentAccess(sys.argv[1]))), NamedHistory(names={"chat": "my model"})
captions = iter(["\\u0397 demo, 2 s left" * 9, "demo, 1 s left"])
show(reader, history, history.add(reader.read_first()), LocalReader(), 1.0, lambda: next(captions, None))
"""


def test_workloads_have_the_names_of_the_scenario() -> None:
    history = NamedHistory(names={"chat": "my model"})
    for step in (1000, 1100):
        frame = history.add(response_at(Player(lost={2}), step))
    assert {workload.name for workload in frame.workloads} == {"train", "my model"}
    assert {name for gpu in frame.gpus for name in gpu.workloads} == {"train", "my model"}
    # 96 tokens and 60 J (12 J of it idle) a step, a hundred steps in ten seconds
    assert describe(frame, "my model").endswith("W   my model: 960 tokens/s, 0.625 J/token")


def test_missing_readings_are_named() -> None:
    frame = play(Player(), seconds=0)
    silent = replace(frame, node=replace(frame.node, power_w=None))
    assert describe(silent, "chat") == "all GPUs: no reading   chat: no tokens measured now"


@pytest.mark.parametrize("name", ["evil\x1b[2J\x07", "a\nb"])
def test_a_hostile_name_cannot_write_to_the_terminal(name: str) -> None:
    frame = NamedHistory(names={"chat": name}).add(response_at(Player(), 1000))
    assert all(is_printable(workload.name) for workload in frame.workloads)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with WebServer("127.0.0.1", 0, Player().now, Still()) as server:
        running = Terminal(f"http://127.0.0.1:{server.port}/metrics", command=(sys.executable, "-c", SHOW))
        yield running
        running.close()


def test_the_caption_is_the_first_line_and_its_end_ends_the_view(terminal: Terminal) -> None:
    terminal.until("\x1b[1;1H\x1b[0m\x1b[2K\x1b[1mdemo, 1 s left\x1b[0m")
    assert terminal.ended() == 0
    assert is_restored(terminal)
    assert "my model" in terminal.output
    assert "~\x1b[0m\x1b[2;1H" in terminal.output  # the first caption is wider than the screen
