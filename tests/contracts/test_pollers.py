"""What every source that is polled keeps: its health follows it, its log has each change once, and stopping ends its thread."""

import logging
import threading
import time

import pytest

from energy_agent.config.tokens import TokenSource
from energy_agent.core.meters.reading import MeterError, MeterReading, Scope
from energy_agent.core.text import is_printable
from energy_agent.owners.kubernetes.api_client import Api
from energy_agent.owners.kubernetes.informer import PodInformer
from energy_agent.owners.kubernetes.node_annotation import NodeNote
from energy_agent.owners.kubernetes.pod_resources import PodResources
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.meter_poller import MeterPoller, MeterSchedule
from energy_agent.runtime.poller import NOT_READ
from energy_agent.sim.cluster.api_server import ApiServer
from energy_agent.site.config.grid import grid_model
from energy_agent.site.grid.poller import GridPoller
from energy_agent.tokens.poller import TokenPoller
from tests.support import eventually

CSV = "ts_utc,zone,g_per_kwh,kind,estimated,method,source\n2026-01-01T00:00:00Z,DE,300,direct,false,,P\n"
PAGE = '# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{model_name="m",engine="0"} 5\n'


class NoWaits(RealClock):
    """The machine's clock, on which no wait takes time."""

    def real_seconds(self, seconds):
        return 0.0


class Meter:
    """Of a building."""

    def __init__(self, tmp_path):
        self.broken = False
        self.poller = MeterPoller(NoWaits(), "facility", [MeterSchedule("main", 60, lambda: self)])
        self.start, self.stop = self.poller.start, self.poller.stop

    def health(self):
        return self.poller.health({})

    def read(self):
        if self.broken:
            raise MeterError("no response in time")
        return (MeterReading("main", Scope.FACILITY, 1, 1, energy_uj=1),)

    def close(self):
        pass


class Grid:
    """A file of the grid's intensity."""

    def __init__(self, tmp_path):
        self.path = tmp_path / "grid.csv"
        source = {"csv_file": {"path": str(self.path), "publisher": "P", "licence": "L"}}
        poller = GridPoller(NoWaits(), grid_model().model_validate({"zone": "DE", "country": "GBR", "sources": [source]}), None)
        self.start, self.stop, self.poller = poller.start, poller.stop, poller
        self.broken = False

    def health(self):
        return [row for row in self.poller.health() if row.source != "grid:factors"]

    @property
    def broken(self):
        return not self.path.exists()

    @broken.setter
    def broken(self, broken):
        self.path.unlink() if broken else self.path.write_text(CSV)


class OfApiServer:
    """The contract cases for the API server poller."""

    def __init__(self, tmp_path):
        self.server = ApiServer(tmp_path, "n1")
        self.poller = self.create(Api.simulated(tmp_path))
        self.start = self.poller.start

    def health(self):
        return (self.poller.health(),)

    def stop(self):
        self.poller.stop()
        self.server.stop()

    @property
    def broken(self):
        return (self.server.folder / "fault").exists()

    @broken.setter
    def broken(self, broken):
        fault = self.server.folder / "fault"
        fault.write_text("error") if broken else fault.unlink()


class Annotation(OfApiServer):
    """Of the node."""

    def create(self, api):
        return NodeNote(api, "n1", NoWaits())


class Pods(OfApiServer):
    """A list and a watch of them."""

    def create(self, api):
        return PodInformer(api, "n1", NoWaits(), {})


class Kubelet:
    """Its PodResources."""

    def __init__(self, tmp_path):
        pytest.importorskip("google.protobuf")
        self.broken = False
        self.poller = PodResources(tmp_path / "socket", NoWaits(), tmp_path, wanted=True, lister=self.answer)
        self.start, self.stop, self.health = self.poller.start, self.poller.stop, self.poller.rows

    def answer(self):
        if self.broken:
            raise OSError("unavailable")
        return b""


class Endpoint:
    """Of an inference server."""

    def __init__(self, tmp_path):
        self.broken = False
        self.poller = TokenPoller(NoWaits(), self.page)
        self.stop, self.health = self.poller.stop, self.poller.health

    def start(self):
        self.poller.configure([TokenSource(workload="chat", url="http://127.0.0.1:1/metrics", period_s=0.5)])

    def page(self, *_, **__):
        if self.broken:
            raise OSError("refused")
        return PAGE


LOGGED = [Meter, Grid, Annotation, Pods, Kubelet]
"""Pods come and go: an endpoint is logged only once it was silent for a while."""


@pytest.fixture(params=[*LOGGED, Endpoint])
def polled(request, tmp_path, caplog):
    caplog.set_level(logging.INFO, "wattlens")
    source = request.param(tmp_path)
    yield source
    source.stop()


def up(polled, wanted):
    return eventually(lambda: (rows := polled.health()) and rows[0].up is wanted and rows[0].reason != NOT_READ and rows[0])


def test_health_follows_the_source_and_names_when_it_last_answered(polled):
    polled.start()
    first = up(polled, True)
    assert abs(first.last_success_ns - time.time_ns()) < 600 * 10**9
    polled.broken = True
    down = up(polled, False)
    assert down.reason
    assert is_printable(down.reason)
    assert down.last_success_ns >= first.last_success_ns
    polled.broken = False
    assert up(polled, True).last_success_ns > down.last_success_ns


def test_source_that_fails_from_the_start_is_down_with_its_reason(polled):
    polled.broken = True
    polled.start()
    down = up(polled, False)
    assert (down.last_success_ns, bool(down.reason)) == (None, True)
    polled.broken = False
    up(polled, True)


@pytest.mark.parametrize("polled", LOGGED, indirect=True)
def test_each_change_is_logged_once(polled, caplog):
    polled.start()
    for broken in (False, True, False, True, False):
        if polled.broken != broken:
            polled.broken = broken
        up(polled, not broken)
    ok = [message.endswith(": ok") for message in eventually(lambda: len(caplog.messages) >= 5 and list(caplog.messages))]
    assert ok == [True, False, True, False, True]


def test_stopping_ends_its_thread(polled):
    polled.start()
    source = up(polled, True).source
    if isinstance(polled, OfApiServer):
        polled.broken = True  # which ends a watch
    polled.stop()
    eventually(lambda: source not in {thread.name for thread in threading.enumerate()})
