"""The laws of every source that is polled: health, back-off, hangs, log and the end, whatever the source does."""

import logging
import threading

import pytest

from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.poller import NOT_READ, Poller, stop_all
from tests.support import eventually

log = logging.getLogger("wattlens.test.poller")


class Waits(RealClock):
    """The machine's clock, on which no wait takes time; keeps how long each would be."""

    def __init__(self, utc_s=0.0):
        self.waits_s, self.utc_s = [], utc_s

    def utc_ns(self):
        return round(self.utc_s * 1e9)

    def real_seconds(self, seconds):
        self.waits_s.append(seconds)
        return 0.0


class Source:
    """Returns how often it was read; raises `error`, or waits for `gate`, where it is set so."""

    def __init__(self):
        self.reads, self.error, self.closed, self.gate = 0, None, 0, threading.Event()
        self.gate.set()

    def read(self):
        self.reads += 1
        self.gate.wait(300)
        if self.error is not None:
            raise self.error
        return self.reads

    def close(self):
        self.closed += 1


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def make(source):
    pollers = []

    def make_poller(clock=None, period_s=0.05, **options):
        name = f"test:source-{len(pollers)}"
        pollers.append(
            Poller(clock or RealClock(), name, source.read, period_s, log, "the source", close=source.close, **options)
        )
        return pollers[-1]

    yield make_poller
    source.gate.set()
    stop_all(pollers, 60)


def test_source_is_down_until_it_was_read_and_dated_once_it_was(source, make):
    poller = make(Waits(utc_s=7))
    assert (poller.health().up, poller.health().reason, poller.value) == (False, NOT_READ, None)
    assert poller.poll()
    health = poller.health()
    assert (health.up, health.reason, health.last_success_ns, poller.value) == (True, "", 7 * 10**9, 1)
    assert health.poll_s >= 0
    source.error = OSError("gone")
    assert not poller.poll()
    assert (poller.health().up, poller.health().reason, poller.value) == (False, "gone", 1), "the last good reading stays"
    assert poller.health().last_success_ns == 7 * 10**9


def test_start_waits_for_the_first_response_or_failure_and_no_longer(source, make):
    make().start(60)
    assert source.reads
    source.error = ValueError("broken")
    failing = make()
    failing.start(60)
    assert failing.health().reason == "ValueError: broken"
    source.error = None
    source.gate.clear()
    hung = make()
    hung.start(0.01)
    assert hung.health().reason == NOT_READ


def test_failing_source_is_read_less_often_until_it_answers(source, make):
    clock = Waits()
    source.error = OSError("gone")
    poller = make(clock, period_s=2.0, retry_max_s=10.0)
    poller.start()
    eventually(lambda: len(clock.waits_s) >= 6)
    assert clock.waits_s[:6] == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    source.error = None
    eventually(lambda: poller.health().up)
    eventually(lambda: clock.waits_s[-1] == 2.0)
    poller.period_s = 3.0
    eventually(lambda: clock.waits_s[-1] == 3.0)


def test_period_above_the_bound_is_kept_while_the_source_answers(source, make):
    clock = Waits()
    poller = make(clock, period_s=3600.0, retry_max_s=60.0)
    poller.start()
    eventually(lambda: clock.waits_s)
    assert clock.waits_s[0] == 3600.0
    source.error = OSError("gone")
    eventually(lambda: clock.waits_s[-1] == 60.0)


def test_back_off_is_bounded_however_long_a_source_is_away(source, make):
    clock = Waits()
    source.error = OSError("gone")
    poller = make(clock, period_s=1.0, retry_max_s=60.0)
    for _ in range(2_000):
        poller.poll()
    poller.start()
    eventually(lambda: clock.waits_s)
    assert clock.waits_s[0] == 60.0


def test_costly_source_rests_in_proportion_up_to_the_bound(source, make):
    make(Waits(), rest=1e9, retry_max_s=1e6).start(60)
    other = Source()
    poller = Poller(Waits(), "test:other", other.read, 1.0, log, "other")
    poller.start()
    eventually(lambda: other.reads > 5)  # no wait of this clock takes time, and a rest does
    stop_all([poller], 60)
    assert source.reads == 1


def test_source_that_is_not_there_is_neither_up_nor_failed(caplog):
    poller = Poller(RealClock(), "test:absent", lambda: None, 0.05, log, "absent")
    assert poller.poll()
    assert poller.health().reason == NOT_READ
    assert caplog.messages == []


@pytest.mark.parametrize(("utc_s", "left_s"), [(100.0, 3.0), (103.0, 10.0), (102.5, 0.5), (102.95, 10.05), (99_999.0, 4.0)])
def test_reading_follows_its_phase_however_utc_steps_and_is_not_repeated_where_it_came_early(source, make, utc_s, left_s):
    clock = Waits()
    make(clock, period_s=10.0, phase_s=3.0).start()
    eventually(lambda: clock.waits_s)
    clock.utc_s = utc_s
    eventually(lambda: clock.waits_s[-1] == pytest.approx(left_s))
    source.error = OSError("gone")
    eventually(lambda: clock.waits_s[-1] == 60.0)


def test_failures_do_not_change_the_period_of_a_source_without_a_bound_for_retries(source, make):
    clock = Waits(utc_s=100.0)
    source.error = OSError("gone")
    poller = make(clock, period_s=10.0, phase_s=3.0, retry_max_s=None)
    poller.start()
    eventually(lambda: len(clock.waits_s) >= 3)
    assert clock.waits_s[:3] == [3.0] * 3
    poller.period_s = 40.0
    eventually(lambda: clock.waits_s[-1] == 23.0)


def test_reading_that_hangs_is_down_while_it_lasts(source, make):
    poller = make(hang_s=0.2)
    poller.start(60)
    assert poller.health().up
    source.gate.clear()
    eventually(lambda: not poller.health().up)
    assert poller.health().reason == "no response for 0.2 s"
    source.gate.set()
    eventually(lambda: poller.health().up)


def test_reading_that_lasts_is_up_while_it_reports_so(source, make):
    poller = make(hang_s=0.2)
    source.gate.clear()
    poller.start()
    eventually(lambda: not poller.health().up and poller.health().reason != NOT_READ)
    poller.succeeded()
    assert poller.health().up
    eventually(lambda: not poller.health().up)


def test_what_changes_is_logged_once(source, make, caplog):
    caplog.set_level("INFO", log.name)
    poller = make()
    for error in (None, None, OSError("gone"), OSError("gone"), OSError("forbidden"), None, None):
        source.error = error
        poller.poll()
    assert caplog.messages == ["the source: ok", "the source: gone", "the source: forbidden", "the source: ok"]
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING", "INFO"]


def test_stopping_ends_the_thread_closes_the_source_and_is_silent(source, make, caplog):
    caplog.set_level("INFO", log.name)
    poller = make(period_s=3600.0)
    poller.start(60)
    stop_all([poller], 60)
    assert (source.reads, source.closed) == (1, 1)
    assert not any(thread.name == "test:source-0" for thread in threading.enumerate())
    source.error = OSError("closed")
    poller.poll()
    assert caplog.messages == ["the source: ok"]


def test_stopping_waits_for_no_source_that_hangs(source, make):
    source.gate.clear()
    hung = [make(), make()]
    for poller in hung:
        poller.start()
    stop_all(hung, 0.01)
    assert source.closed == 0
    source.gate.set()
    stop_all(hung, 60)
    assert source.closed == 2


def test_poller_that_was_never_started_stops(make):
    stop_all([make()])
