"""Frames of the player, whose every joule and token is known: what `wattlens top` shows of it."""

from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.openmetrics import Format, render
from tests.snapshots import STEP_S, Player
from wattlens.scrape.response import Page, parse
from wattlens.top.facts import Facts
from wattlens.top.history import History

T0_NS = 1_700_000_000_000_000_000


def page_at(player: Player, step: int) -> Page:
    return page_of(player.at(step, T0_NS + round(step * STEP_S * 1e9)), step * STEP_S)


def page_of(snapshot: Snapshot, t_s: float) -> Page:
    return parse(render(snapshot, Format.TEXT).decode(), t_s)


def played(player: Player, seconds: int = 5, start: int = 1000) -> Facts:
    """The frame after so many pages, one a second."""
    history = History()
    for second in range(seconds + 1):
        facts = history.add(page_at(player, start + second * 10))
    return facts
