"""A real Prometheus that scrapes a page of meters: read by selector and by sum, then its target gone, a counter reset, and
Prometheus itself slowed, killed and lying behind in mid-run.
"""

import json
import signal
import subprocess
import time
import urllib.request

import pytest

from energy_agent.core.meters.reading import MeterError
from energy_agent.metering.node import advance
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.meter_poller import MeterPoller, MeterSchedule
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters.prometheus import SPEC, Prometheus
from tests.doubles.page_server import PageServer
from tests.support import eventually, free_port, need_program

pytestmark = [pytest.mark.prometheus, pytest.mark.smoke, pytest.mark.timeout(360)]

WH_UJ = 3_600_000_000
METER = {"id": "main", "role": "total", "accuracy_percent": 1, "timeout_s": 1, "max_power_w": 1e9}
SCRAPE_S = 0.5


class Page:
    """What a meter's exporter shows: energy in Wh and power in W of as many meters as there are."""

    def __init__(self):
        self.values = {"a": (10_000, 500.5)}
        self.port = 0
        self.start()

    def start(self):
        self.server = PageServer(self.text, self.port)
        self.port = self.server.port

    def stop(self):
        self.server.close()

    def text(self):
        rows = [f'meter_wh_total{{id="{k}"}} {v[0]}\nmeter_watts{{id="{k}"}} {v[1]}\n' for k, v in self.values.items()]
        return "".join(rows).encode()


class Peer:
    """A Prometheus that scrapes a page twice a second."""

    def __init__(self, home):
        self.program, self.home, self.page, self.port = need_program("prometheus"), home, Page(), free_port()
        scrape = {"job_name": "meters", "static_configs": [{"targets": [f"127.0.0.1:{self.page.port}"]}]}
        settings = {"scrape_interval": f"{SCRAPE_S * 1000:.0f}ms", "scrape_timeout": f"{SCRAPE_S * 1000:.0f}ms"}
        (home / "prometheus.yml").write_text(json.dumps({"global": settings, "scrape_configs": [scrape]}))
        self.start()

    def start(self):
        where = [f"--config.file={self.home / 'prometheus.yml'}", f"--storage.tsdb.path={self.home / 'data'}"]
        with (self.home / "log").open("ab") as log:
            command = [self.program, *where, f"--web.listen-address=127.0.0.1:{self.port}"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def section(self, **more):
        return Prometheus(url=f"http://127.0.0.1:{self.port}", **more)


@pytest.fixture
def peer(tmp_path):
    prometheus = Peer(tmp_path)
    yield prometheus
    prometheus.stop()
    prometheus.page.stop()


def meter(peer, **more):
    return SPEC.open(peer.section(**more), MeterConfig(**METER), RealClock())


def first(reader):
    """The first reading, as soon as there is one."""

    def look():
        try:
            return reader.read()
        except MeterError as error:
            if any(word in str(error) for word in ("refused", "returned no series", "503", "samples: expected", "in time")):
                return None
            raise

    (reading,) = eventually(look)
    return reading


def refused(reader, reason, seconds=20):
    """Wait for this reason."""

    def look():
        try:
            reader.read()
        except MeterError as error:
            return reason in str(error)
        return False

    eventually(look, seconds)


def test_reading_has_the_time_of_its_sample(peer):
    reader = meter(peer, energy_query='meter_wh_total{id="a"}', energy_unit="Wh", power_query="meter_watts")
    reading = first(reader)
    assert (reading.energy_uj, reading.power_mw) == (10_000 * WH_UJ, 500_500)
    assert (reading.step_uj, reading.step_mw) == (WH_UJ, 100)
    now_ns = time.time_ns()
    assert now_ns - reading.t_ns < 30 * 10**9
    later = first(reader)  # nothing, as long as the sample is the same
    assert later.t_ns > reading.t_ns
    with urllib.request.urlopen(f"http://127.0.0.1:{peer.port}/api/v1/query?query=meter_wh_total[5m]", timeout=60) as answer:
        (series,) = json.load(answer)["data"]["result"]
    for each in (reading, later):  # as of a scrape, whenever we ask
        assert min(abs(each.t_ns / 1e9 - t_s) for t_s, _ in series["values"]) <= each.age_ns / 1e9 + 0.05


def test_a_sample_is_given_once_and_refused_when_it_is_too_old(peer):
    reader = meter(peer, energy_query="meter_wh_total", energy_unit="Wh", max_age_s=2)
    first(reader)
    peer.process.send_signal(signal.SIGSTOP)
    refused(reader, "no response in time")
    time.sleep(3)
    peer.page.stop()  # nothing to scrape when it wakes: otherwise it would return old data with the current time
    fresh = meter(peer, energy_query="meter_wh_total", energy_unit="Wh", max_age_s=2)
    peer.process.send_signal(signal.SIGCONT)
    reasons = set()

    def look():
        for each in (reader, fresh):
            try:
                each.read()
            except MeterError as error:
                reasons.add("old" if "s old, but max_age_s is 2" in str(error) else "gone" if "no series" in str(error) else "")
        return "gone" in reasons

    eventually(look, 20, every=0.01)
    peer.page.start()
    first(reader)


def test_none_and_many_say_how_many_and_what_to_do(peer):
    peer.page.values["b"] = (20_000, 100.25)
    reader = meter(peer, energy_query="meter_wh_total", energy_unit="Wh")
    refused(reader, "energy_query: expected 1 series, got 2: select one by its labels, or sum them; meter_wh_total{id=")
    refused(meter(peer, power_query='meter_watts{id="c"}'), "power_query returned no series")
    refused(meter(peer, power_query="meter_watts{id=", samples="meter_watts"), "status 400: ")
    refused(meter(peer, power_query="scalar(meter_watts)", samples="meter_watts"), "status 400: ")


def test_a_sum_wants_each_of_its_series(peer):
    peer.page.values["b"] = (20_000, 100.25)
    query = {"energy_query": "sum(meter_wh_total)", "energy_unit": "Wh", "samples": "meter_wh_total"}
    refused(meter(peer, **query), "samples: expected 1 series as set in `series`, got 2")
    reader = meter(peer, **query, series=2)
    assert first(reader).energy_uj == 30_000 * WH_UJ
    del peer.page.values["b"]
    refused(reader, "samples: expected 2 series as set in `series`, got 1")
    rate = meter(peer, power_query='avg_over_time(meter_watts{id="a"}[3s])', samples="meter_watts")
    reading = first(rate)
    assert reading.power_mw == 500_500
    assert reading.age_ns >= 3 * 10**9


def test_every_watt_hour_is_booked_once_over_outages_and_a_reset_is_a_gap(peer):
    section = peer.section(energy_query='meter_wh_total{id="a"}', energy_unit="Wh", max_age_s=5)
    open_ = lambda: SPEC.open(section, MeterConfig(**METER), RealClock())  # noqa: E731
    poller = MeterPoller(RealClock(), "meter", [MeterSchedule("main", 0.3, open_)])
    readings = []

    def count(wh):
        before, power_w = peer.page.values["a"]
        peer.page.values["a"] = (before + wh, power_w)

    def read_labels():
        def look():
            for _, rows in poller.drain():
                readings.extend(rows)
            return readings and readings[-1].energy_uj == peer.page.values["a"][0] * WH_UJ

        eventually(look, 60)

    def up(wanted=True, reason=""):
        eventually(lambda: (h := poller.health({})[0]).up is wanted and reason in h.reason, 60)

    def recorded():
        state, total_uj, gaps = None, 0, []
        for reading in readings:
            step = advance(state, reading, "boot", 3 * 10**9)
            state = step.state
            total_uj += step.interval.energy_uj if step.interval else 0
            gaps += [step.gap.reason] if step.gap else []
        return total_uj, gaps

    poller.start()
    try:
        read_labels()
        start_wh = peer.page.values["a"][0]
        for wh in (5, 70):
            count(wh)
            read_labels()
        peer.page.stop()
        up(False, "no series")  # Prometheus marks what its target no longer shows
        peer.page.start()
        count(100)
        up()
        read_labels()
        peer.process.send_signal(signal.SIGSTOP)
        up(False, "in time")
        count(30)
        peer.process.send_signal(signal.SIGCONT)
        up()
        read_labels()
        peer.stop()
        up(False, "refused")
        count(200)
        peer.start()
        up()
        read_labels()
        assert recorded() == ((peer.page.values["a"][0] - start_wh) * WH_UJ, [])
        peer.page.values["a"] = (3, 500.5)  # its exporter was restarted
        read_labels()
        count(4)
        read_labels()
        assert recorded() == ((405 + 4) * WH_UJ, ["counter fell"])
    finally:
        poller.stop()
