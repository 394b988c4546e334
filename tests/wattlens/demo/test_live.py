"""The live view: rows fit a terminal of 80 columns, what is absent says so, and no name reaches the terminal raw."""

from collections.abc import Iterator

import pytest

from energy_agent.core.text import is_printable
from energy_agent.web.server import WebServer
from tests.energy_agent.web.test_server import Still
from tests.snapshots import Player, uuid
from wattlens.demo.live import NARROW, LiveText
from wattlens.scrape.access import read_page
from wattlens.scrape.response import ScrapeResponse

NAMES = {uuid(gpu): f"GPU {gpu}" for gpu in range(8)}


@pytest.fixture
def pages() -> Iterator[tuple[ScrapeResponse, ScrapeResponse]]:
    """Two readings of a page, ten seconds of the player apart; GPU 2 is lost."""
    player, step = Player(lost={2}), [5]
    with WebServer("127.0.0.1", 0, lambda: player.at(step[0]), Still()) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        first = read_page(url, 0.0, within_s=60)
        step[0] = 105
        yield first, read_page(url, 10.0, within_s=60)


@pytest.mark.parametrize("width", [NARROW, 136])
def test_no_line_is_wider_than_the_frame(pages: tuple[ScrapeResponse, ScrapeResponse], width: int) -> None:
    view = LiveText("chat", NAMES, width)
    lines = [view.header(), *view.lines(pages[1]), *view.footer(pages[1])]
    assert len(lines) == 1 + 8 + 1
    assert max(map(len, lines)) <= width
    column = view.header().index("steering")
    steering = {line[column:] for line in view.lines(pages[1]) if "absent" not in line}
    assert steering == {"<=1410 MHz", "not steered"}


def test_a_lost_gpu_says_so_and_shows_no_number(pages: tuple[ScrapeResponse, ScrapeResponse]) -> None:
    assert LiveText("chat", NAMES).lines(pages[1])[2].strip() == "2 no response; its series are absent"


def test_the_footer_is_what_the_player_did(pages: tuple[ScrapeResponse, ScrapeResponse]) -> None:
    view = LiveText("chat", {"chat": "my model"})
    assert "no tokens measured now" in view.footer(pages[0])[0]
    # 96 tokens and 60 J (12 J of it idle) a step, a hundred steps in ten seconds
    assert "my model: 960 tokens/s, 0.625 J/token" in view.footer(pages[1])[0]


def test_large_energies_stay_in_their_column() -> None:
    page = ScrapeResponse(0.0, {"wattlens_gpu_up": {(("gpu", "0"), ("uuid", "U")): 1.0}})
    page.samples["wattlens_gpu_energy_joules_total"] = {(("method", "counter"), ("uuid", "U")): 5e9}
    (line,) = LiveText("", {}).lines(page)
    assert "5,000 MJ" in line
    assert "none" in line


@pytest.mark.parametrize("name", ["evil\x1b[2J\x07", "a\nb", "x" * 500])
def test_a_hostile_name_cannot_write_to_the_terminal(name: str) -> None:
    page = ScrapeResponse(0.0, {"wattlens_gpu_up": {(("gpu", "0"), ("uuid", "U")): 1.0}})
    page.samples["wattlens_workload_energy_joules_total"] = {(("uuid", "U"), ("workload", name)): 1.0}
    (line,) = LiveText("", {}).lines(page)
    assert is_printable(line)
    assert len(line) <= NARROW
