"""A fleet of 1,000 nodes with 8 GPUs on one Prometheus and one VictoriaMetrics: resources and response times of dashboards.

Run from the repository's root: python -m benchmarks fleet_scale [--nodes 1000] [--minutes 3] [--hours 1] [--pages FILE]

`fleet_load` serves the pages in a separate process. First a separate Prometheus evaluates the rules for some minutes,
which shows what they record. Then the past `--hours` of these series and of the pages are written by remote write into both
servers, in the order of time (`fleet_history`), since scraping would take that many hours. Then Prometheus scrapes every node
each 30 s, evaluates rules and alerts, and sends everything to VictoriaMetrics by remote write for some minutes. Meanwhile every
query of every dashboard is timed on both, in rounds, so that each query runs during all other work of the servers. Checks: no
target down, no rule failed, and results equal to the fleet's formulas: its power, joules per token of each model, and that the
parts of its energy sum to the whole. The bar: every query within 1 s at the 95th percentile of its repetitions on Prometheus.
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import fleet_capture, fleet_history, fleet_queries, fleet_rules, fleet_servers
from benchmarks.fleet_capture import Capture
from benchmarks.fleet_history import FleetHistoryWriter, Receiver, RecordedSeriesWriter
from benchmarks.fleet_model import ScrapedFleet
from benchmarks.fleet_queries import QueryConnection, QueryResult
from benchmarks.fleet_result import BAR_S, FleetResult, report, timing
from benchmarks.fleet_servers import EXTERNAL, SCRAPE_S, ServerProcess, total
from benchmarks.runner import Row, say
from benchmarks.running import Series, cpu_s
from tests.support import eventually, free_port

ENGINE = 'boundary="gpu",energy="active_idle",tokens="generation"'


def run(
    nodes: int = 1000, sites: int = 4, minutes: float = 3.0, hours: float = 1.0, repeats: int = 7, pages: Path | None = None
) -> Iterator[Row]:
    """Run everything on `nodes` nodes.

    `minutes` of scraping before the queries, `hours` of history before, `repeats` of each query; `pages`: a file of captures.
    """
    with tempfile.TemporaryDirectory(prefix="wattlens-fleet-") as folder:
        yield from report(measure(nodes, sites, minutes, hours, repeats, fleet_capture.pages(pages), Path(folder)))


def measure(
    nodes: int,
    sites: int,
    minutes: float,
    hours: float,
    repeats: int,
    capture: Capture,
    folder: Path,
    scrape_s: float = SCRAPE_S,
    dashboards: Collection[str] = (),
) -> FleetResult:
    """The same with these captures, in a folder, for these dashboards or all."""
    result = FleetResult(nodes)
    start_s = time.time() - hours * 3600 - 60
    fleet = ScrapedFleet(capture, nodes, sites, start_s)
    fleet_capture.save(capture, folder / "capture.json")
    with ExitStack() as stack:
        ports = [free_port() for _ in range(4)]
        programs = ("prometheus", "victoria-metrics")
        store = stack.enter_context(fleet_servers.victoria_metrics(programs[1], folder / "vm", ports[1]))
        prometheus = stack.enter_context(fleet_servers.prometheus(programs[0], folder / "prometheus", ports[0]))
        load = stack.enter_context(_load(fleet, folder, ports[2]))
        targets, remote = f"http://127.0.0.1:{ports[2]}/targets", f"http://127.0.0.1:{store.port}/api/v1/write"
        say("rules: until each was evaluated twice, by a Prometheus of its own")
        series = fleet_rules.recorded(programs[0], folder / "rules", ports[3], targets, len(fleet.targets), scrape_s)
        result.figures["recorded_series"] = len(series)
        receivers = [stack.enter_context(Receiver(port)) for port in ports[:2]]
        _past(fleet, receivers, series, hours, scrape_s)
        fleet_servers.configure(prometheus.folder, scrape_s, targets=targets, rules=True, remote_write=remote)
        prometheus.post("/-/reload")
        fleet_rules.until_scraped(prometheus, len(fleet.targets), 4 * scrape_s + 60)
        say(f"scraping alone, {minutes:g} minutes")
        _watch(result, prometheus, store, load, minutes * 60)
        stores = {
            "prometheus": stack.enter_context(QueryConnection(prometheus.port)),
            "victoriametrics": stack.enter_context(QueryConnection(store.port, {"nocache": "1"})),
        }
        _check(result, fleet, stores["prometheus"], len(fleet.targets))
        for range_h in sorted({1.0, hours}) if hours >= 1 else [max(hours, 1 / 12)]:
            _time(result, stores, {"prometheus": prometheus, "victoriametrics": store}, range_h, repeats, scrape_s, dashboards)
        result.failures += fleet_rules.failing(stores["prometheus"])
        _after(result, prometheus, store)
    return result


@contextmanager
def _load(fleet: ScrapedFleet, folder: Path, port: int) -> Iterator[int]:
    """The load generator; its pid."""
    command = [sys.executable, "-m", "benchmarks", "fleet_load", "--nodes", str(fleet.nodes), "--sites", str(fleet.sites)]
    command += ["--port", str(port), "--pages", str(folder / "capture.json"), "--start", str(fleet.start_s)]
    with (folder / "load.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            eventually(lambda: _listens(port), 120)
            yield process.pid
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/targets", timeout=5):
        return True
    return False


def _past(fleet: ScrapedFleet, receivers: list[Receiver], series: list[dict[str, Any]], hours: float, scrape_s: float) -> None:
    """History until now, also of the time that writing it takes."""
    external = [{}, EXTERNAL]
    history, recorded = (
        FleetHistoryWriter(fleet, receivers, fleet_history.asked_for(), external),
        RecordedSeriesWriter(series, receivers, external),
    )
    waiting = fleet_history.times(time.time(), hours, scrape_s)
    while waiting:
        history.write(waiting, recorded, say)
        waiting = fleet_history.times_since(waiting[-1], time.time(), scrape_s)


def _watch(result: FleetResult, prometheus: ServerProcess, store: ServerProcess, load: int, seconds: float) -> None:
    """Scraping alone for a while: rates, CPU, memory, rules, lag."""
    before, began = _mark(prometheus, store, load), time.monotonic()
    lags: list[float] = []
    durations: dict[str, list[float]] = {}
    while time.monotonic() - began < seconds:
        time.sleep(min(5.0, seconds / 4))
        metrics = prometheus.metrics()
        lags.append(_lag(metrics))
        for (name, labels), value in metrics.items():
            if name == "prometheus_rule_group_last_duration_seconds" and value:  # 0: not evaluated yet
                durations.setdefault(dict(labels)["rule_group"].rpartition(";")[2], []).append(value)
    took, after = time.monotonic() - began, _mark(prometheus, store, load)
    figures = result.figures
    for name in before:
        if name.startswith("cpu"):
            figures[f"{name}_cores"] = (after[name] - before[name]) / took
    figures["samples_per_s"] = (after["samples"] - before["samples"]) / took
    figures["sent_per_s"] = (after["sent"] - before["sent"]) / took
    figures["series"] = after["series"]
    figures["lag_median_s"], figures["lag_most_s"] = sorted(lags)[len(lags) // 2], max(lags)
    for group, seen in durations.items():
        figures[f"rule_{group}_s"] = max(seen)
    figures["rule_missed"] = after["missed"] - before["missed"]
    figures["prometheus_rss_mib"], figures["prometheus_rss_most_mib"] = (b / 2**20 for b in prometheus.memory_b)
    figures["vm_rss_mib"], figures["vm_rss_most_mib"] = (b / 2**20 for b in store.memory_b)
    figures["load_1m"] = os.getloadavg()[0]


def _mark(prometheus: ServerProcess, store: ServerProcess, load: int) -> dict[str, float]:
    metrics = prometheus.metrics()
    return {
        "cpu_prometheus": prometheus.cpu_s, "cpu_vm": store.cpu_s, "cpu_load": cpu_s(load),
        "samples": total(metrics, "prometheus_tsdb_head_samples_appended_total"),
        "sent": total(metrics, "prometheus_remote_storage_samples_total"),
        "series": total(metrics, "prometheus_tsdb_head_series"),
        "missed": total(metrics, "prometheus_rule_group_iterations_missed_total"),
    }  # fmt: skip


def _lag(metrics: Series) -> float:
    newest = total(metrics, "prometheus_remote_storage_highest_timestamp_in_seconds")
    sent = total(metrics, "prometheus_remote_storage_queue_highest_sent_timestamp_seconds")
    return newest - sent


def _check(result: FleetResult, fleet: ScrapedFleet, store: QueryConnection, targets: int) -> None:
    """Compare results of the rules and the pages with the fleet's formulas."""
    up, now_s = store.value("sum(up)"), time.time()
    result.checks["targets up"] = (up, float(targets))
    power = "wattlens_gpu_power_instant_watts"
    at_s = {
        each["metric"]["instance"]: float(each["value"][1])
        for each in store.samples(f"max by (instance) (timestamp({power}))", now_s)
    }
    result.checks["power of the fleet, W"] = (store.value(f"sum({power})", now_s), fleet.power_w(at_s))
    for model, per_token in fleet.joules_per_token().items():
        ratio = store.value(f'model:wattlens_joules_per_token:ratio_rate5m{{{ENGINE},model="{model}"}}')
        result.checks[f"J/token of {model}"] = (ratio, per_token)
    parts = [
        store.value(f"sum(rate(wattlens_{name}_joules_total[2m]))", now_s)
        for name in ("gpu_energy", "workload_energy", "gpu_unallocated_energy", "gpu_unattributed_energy")
    ]
    result.checks["W of workloads, idle and unattributed"] = (sum(parts[1:]), parts[0])


def _time(
    result: FleetResult,
    stores: dict[str, QueryConnection],
    servers: dict[str, ServerProcess],
    range_h: float,
    repeats: int,
    scrape_s: float,
    dashboards: Collection[str],
) -> None:
    """Time every query on every store, repeatedly in a different order, because other work of a server recurs each minute."""
    asked = list(fleet_queries.queries(stores["prometheus"], range_h * 3600, scrape_s, dashboards))
    answers: dict[tuple[str, int], list[QueryResult]] = {(name, n): [] for n in range(len(asked)) for name in stores}
    cpu_s = dict.fromkeys(answers, 0.0)
    for repeat in range(repeats):
        say(f"{len(asked)} queries over {range_h:g} h: round {repeat + 1} of {repeats}")
        for name, n in random.Random(repeat).sample(list(answers), len(answers)):
            before_s = servers[name].cpu_s
            answers[name, n].append(fleet_queries.ask(stores[name], asked[n], time.time(), range_h * 3600))
            cpu_s[name, n] += servers[name].cpu_s - before_s
    for (name, n), query_results in answers.items():
        result.timings.append(timing(name, asked[n], range_h, query_results, cpu_s[name, n] / repeats))
        if result.timings[-1]["p95_s"] > BAR_S:
            say(f"slow: {result.timings[-1]}")


def _after(result: FleetResult, prometheus: ServerProcess, store: ServerProcess) -> None:
    """Memory after all queries, and bytes a sample on disk: a block of Prometheus made now, the parts of VictoriaMetrics."""
    figures = result.figures
    figures["prometheus_rss_after_queries_mib"] = prometheus.memory_b[1] / 2**20
    figures["vm_rss_after_queries_mib"] = store.memory_b[1] / 2**20
    prometheus.post("/api/v1/admin/tsdb/snapshot")
    size = count = 0
    for meta in (prometheus.folder / "data/snapshots").rglob("meta.json"):
        count += json.loads(meta.read_text())["stats"].get("numSamples", 0)
        size += sum(p.stat().st_size for p in meta.parent.rglob("*") if p.is_file())
    figures["prometheus_block_b_per_sample"] = size / count if count else math.nan
    metrics = store.metrics()
    rows = sum(total(metrics, "vm_rows", {"type": f"storage/{part}"}) for part in ("inmemory", "small", "big"))
    figures["vm_b_per_sample"] = total(metrics, "vm_data_size_bytes") / rows if rows else math.nan
    figures["vm_rows"] = rows
