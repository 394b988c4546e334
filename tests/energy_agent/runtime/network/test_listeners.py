"""Listeners that cannot be opened, or lose their place, on a simulated clock."""

import logging

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.runtime.network.listeners import Listeners


class Door:
    """A listener whose place is taken while `taken` says so."""

    def __init__(self):
        self.taken, self.lost, self.starts, self.is_open = "", "", 0, False

    def start(self):
        self.starts += 1
        if self.taken:
            raise UsageError(self.taken)
        self.is_open = True

    def stop(self):
        self.is_open = False

    def fault(self):
        return self.lost


@pytest.fixture
def stage():
    now = [100.0]
    door, other = Door(), Door()
    listeners = Listeners(logging.getLogger("wattlens.test"), lambda: now[0])
    listeners.add("web.listen", door)
    listeners.add("client.socket", other)

    def pass_seconds(count):
        for _ in range(count):
            now[0] += 1
            listeners.look()

    return door, other, listeners, pass_seconds


def test_what_cannot_be_opened_is_tried_again_ever_more_seldom_and_holds_up_no_other(stage, caplog):
    door, other, listeners, pass_seconds = stage
    door.taken = "cannot listen on 127.0.0.1:9479: Address already in use"
    listeners.look()
    assert other.is_open
    assert [(h.source, h.up, h.reason) for h in listeners.health()] == [
        ("web.listen", False, door.taken),
        ("client.socket", True, ""),
    ]
    pass_seconds(3600)
    assert 60 <= door.starts <= 70
    assert other.starts == 1
    assert len(caplog.messages) == 1  # a state is no news
    door.taken = ""
    pass_seconds(60)
    assert door.is_open
    assert listeners.health()[0].up


def test_one_that_lost_its_place_is_opened_again_at_once(stage):
    door, _, listeners, pass_seconds = stage
    opened = []
    listeners.add("web.probe_listen", third := Door(), lambda: opened.append(1))
    listeners.look()
    third.lost, third.taken = "the socket was replaced", "another program listens there"
    pass_seconds(1)
    assert not third.is_open
    assert listeners.health()[2].reason == "another program listens there"
    third.lost = third.taken = ""
    pass_seconds(2)
    assert third.is_open
    assert (len(opened), door.starts) == (2, 1)
    listeners.stop()
    assert not third.is_open
    assert not door.is_open
