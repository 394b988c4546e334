"""Polled meters: their readings wait for the loop, and an implausible meter is down with the reason."""

import itertools
from dataclasses import dataclass, field

import pytest

from energy_agent.core.meters.reading import MeterError, MeterReading, Scope
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.meter_poller import QUEUE_MAX, MeterPoller, MeterSchedule
from tests.support import eventually


@dataclass
class Meter:
    """Counts; `failures` are raised when it is opened, one at a time."""

    failures: list = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    energy_uj: itertools.count = field(default_factory=itertools.count)

    def open(self):
        self.opened += 1
        if self.failures:
            raise self.failures.pop()
        return self

    def read(self):
        return (MeterReading("main", Scope.FACILITY, 1, 1, energy_uj=next(self.energy_uj)),)

    def close(self):
        self.closed += 1


@pytest.fixture
def poll():
    pollers = []

    def polled(*meters, **options):
        named = [MeterSchedule(f"m{n}", 0.05, meter.open, **options) for n, meter in enumerate(meters)]
        pollers.append(MeterPoller(RealClock(), "facility", named))
        pollers[-1].start()
        return pollers[-1]

    yield polled
    for poller in pollers:
        poller.stop()


def test_meter_that_is_not_there_yet_is_opened_later_once_and_closed(poll):
    meter = Meter([MeterError("missing"), MeterError("missing")])
    poller = poll(meter)
    readings = []
    eventually(lambda: readings.extend(poller.drain()) or len(readings) > 3)
    poller.stop()
    assert (meter.opened, meter.closed) == (3, 1)
    readings += poller.drain()
    assert [reading.energy_uj for _, (reading,) in readings] == list(range(len(readings))), "each of them once, in order"
    assert poller.periods_s == {"m0": 0.05}


def test_reading_that_is_refused_is_a_reason_and_is_not_given(poll):
    def refuse_odd(readings):
        if readings[0].energy_uj % 2:
            raise MeterError("odd")

    poller = poll(Meter(), check=refuse_odd)
    readings = []
    eventually(lambda: readings.extend(poller.drain()) or len(readings) > 2)
    eventually(lambda: poller.health({})[0].reason == "odd")
    assert all(reading.energy_uj % 2 == 0 for _, (reading,) in readings)


def test_implausible_meter_is_down_and_others_are_up(poll):
    poller = poll(Meter(), Meter())
    eventually(lambda: all(health.up for health in poller.health({})))
    doubted, other = poller.health({"m0": "counter fell", "m1": ""})
    assert (doubted.source, doubted.up, doubted.reason, other.up) == ("facility:m0", False, "counter fell", True)


def test_unread_readings_are_bounded(poll, monkeypatch):
    monkeypatch.setattr("energy_agent.runtime.meter_poller.QUEUE_MAX", 3)
    meter = Meter()
    poller = poll(meter)
    eventually(lambda: next(meter.energy_uj) > 20)
    assert len(poller.drain()) <= 4 < QUEUE_MAX
