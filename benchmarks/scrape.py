"""Cost of a scrape: 8 GPUs and 200 series of workloads, compared with prometheus-client on the same families in the same run.

Run from the repository's root: python -m benchmarks scrape

The server runs in its own process; the client times whole requests on one persistent connection, as Prometheus does. `first` is
the worst case: each scrape is the first of a new snapshot and builds the response. `second` has a new snapshot and ten scrapes
per second. The writers are also timed alone, alternating in one process: ours, and prometheus-client's generate_latest over
families built from the same snapshot.
"""

import http.client
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection

from benchmarks.runner import Row
from energy_agent.core.catalogue.node import BY_NAME
from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.openmetrics import Format, render
from energy_agent.runtime.clock import RealClock
from energy_agent.web.server import WebServer
from tests.snapshots import Player

EXTRA = 93  # with `train` and `chat`: 200 series of workload_energy_joules_total
SCRAPES = 500
SECONDS = 10
ACCEPT = {"Accept": "application/openmetrics-text;version=1.0.0"}


def serve(report: Connection, each_scrape: bool) -> None:
    """Serve snapshots made beforehand, the next at each scrape or each second, until the parent hangs up."""
    player, now_ns = Player(extra=EXTRA), time.time_ns()
    snapshots = [player.at(100_000 + k, now_ns) for k in range(20)]
    asked = iter(range(10**9))
    began = time.monotonic()

    def source() -> Snapshot:
        return snapshots[next(asked) % len(snapshots) if each_scrape else int(time.monotonic() - began) % len(snapshots)]

    with WebServer("127.0.0.1", 0, source, RealClock(), stale_after_s=3600) as server:
        report.send(server.port)
        report.recv()


def over_http(each_scrape: bool) -> tuple[list[float], bytes]:
    """Durations of scrapes in ms, and the last body."""
    here, child_end = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(child_end, each_scrape))
    child.start()
    durations = []
    with closing(http.client.HTTPConnection("127.0.0.1", here.recv())) as client:
        for _ in range(10):
            client.request("GET", "/metrics", headers=ACCEPT)
            body = client.getresponse().read()
        for _ in range(SCRAPES if each_scrape else SECONDS * 10):
            began = time.perf_counter()
            client.request("GET", "/metrics", headers=ACCEPT)
            body = client.getresponse().read()
            durations.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.005 if each_scrape else 0.1)
    here.send(None)
    child.join(10)
    return durations, body


class PrometheusClientPage:
    """The same response by prometheus-client: a collector over a snapshot, and its own writer."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry

        self.snapshot = Player(extra=EXTRA).at(1)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[object]:
        """The families of the snapshot, as prometheus-client calls for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        from energy_agent.exposition.openmetrics import families

        for name, samples in families(self.snapshot).items():
            signal = BY_NAME[name]
            if signal.kind == "info":
                info = InfoMetricFamily(signal.metric.removesuffix("_info"), signal.help)
                for values, _ in samples:
                    info.add_metric((), dict(zip(signal.labels, values, strict=True)))
                yield info
                continue
            kind = CounterMetricFamily if signal.kind == "counter" else GaugeMetricFamily
            family = kind(signal.metric, signal.help, labels=signal.labels)
            for values, value in samples:
                family.add_metric(values, float(value))
            yield family

    def page(self, snapshot: Snapshot) -> bytes:
        """The response for a snapshot."""
        from prometheus_client.openmetrics.exposition import generate_latest

        self.snapshot = snapshot
        page: bytes = generate_latest(self._registry)
        return page


def in_turn(writers: dict[str, Callable[[Snapshot], bytes]]) -> dict[str, list[float]]:
    """Durations in ms of each writer, each snapshot given to all."""
    player = Player(extra=EXTRA)
    durations: dict[str, list[float]] = {name: [] for name in writers}
    for k in range(220):
        snapshot = player.at(100_000 + k)
        for name, writer in writers.items():
            began = time.perf_counter()
            writer(snapshot)
            if k >= 20:
                durations[name].append((time.perf_counter() - began) * 1e3)
    return durations


def run() -> Iterator[Row]:
    """Durations in ms over HTTP and of the writers alone; the 99th percentile over HTTP is at most 5 ms."""
    first, body = over_http(each_scrape=True)
    second, _ = over_http(each_scrape=False)
    writers = in_turn({"wattlens": lambda s: render(s, Format.OPENMETRICS), "prometheus_client": PrometheusClientPage().page})
    lines = [line for line in body.splitlines() if not line.startswith(b"#")]
    workloads = sum(line.startswith(b"wattlens_workload_energy_joules_total{") for line in lines)
    ratio = statistics.median(writers["wattlens"]) / statistics.median(writers["prometheus_client"])
    yield {"series": len(lines), "workload_series": workloads, "bytes": len(body), "ratio_p50": ratio}
    for name, values in {"first": first, "second": second, **{f"write {k}": v for k, v in writers.items()}}.items():
        cuts = statistics.quantiles(values, n=100)
        yield {"what": name, "p50_ms": cuts[49], "p99_ms": cuts[98], "ok": name.startswith("write") or cuts[98] <= 5.0}
