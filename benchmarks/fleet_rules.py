"""Rules of a fleet on a Prometheus: recorded series, evaluation and failures."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from benchmarks import fleet_servers
from benchmarks.fleet_queries import QueryConnection
from benchmarks.fleet_servers import ServerProcess, total

_RECORDED = '{__name__=~".+:wattlens_.+"}'


def recorded(program: str, folder: Path, port: int, targets: str, count: int, scrape_s: float) -> list[dict[str, Any]]:
    """Series that the rules record for `count` targets on a separate Prometheus: writing a history requires their names.

    Raises:
        RuntimeError: targets are not scraped, or rules are not evaluated or fail.
    """
    with fleet_servers.prometheus(program, folder, port) as prometheus, QueryConnection(port) as client:
        fleet_servers.configure(folder, scrape_s, targets=targets, rules=True)
        prometheus.post("/-/reload")
        until_scraped(prometheus, count, 4 * scrape_s + 60)
        _until_evaluated(prometheus)
        if failed := failing(client):
            raise RuntimeError("; ".join(failed))
        series = client.samples(_RECORDED)
    shutil.rmtree(folder)
    return series


def failing(prometheus: QueryConnection) -> list[str]:
    """Rules whose last evaluation failed, and why."""
    _, body = prometheus.ask("rules")
    groups = json.loads(body)["data"]["groups"]
    return [f"rule {r['name']}: {r['lastError']}" for g in groups for r in g["rules"] if r["health"] == "err"]


def until_scraped(prometheus: ServerProcess, targets: int, timeout_s: float) -> None:
    """Wait until all targets are up.

    Raises:
        RuntimeError: not in time.
    """
    end = time.monotonic() + timeout_s
    with QueryConnection(prometheus.port) as client:
        while (up := client.value("sum(up)")) != targets:
            if time.monotonic() > end:
                raise RuntimeError(f"{up} of {targets} targets were scraped")
            time.sleep(0.5)


def _until_evaluated(prometheus: ServerProcess) -> None:
    """Wait until rules based on other groups have been evaluated on the series of those groups.

    Groups with intervals above two minutes do not depend on others, and alerts record nothing.

    Raises:
        RuntimeError: that takes more than three of the longest intervals.
    """
    began = time.monotonic()
    while True:
        metrics = prometheus.metrics()
        groups = {
            dict(labels)["rule_group"]: (value, total(metrics, "prometheus_rule_group_iterations_total", dict(labels)))
            for (name, labels), value in metrics.items()
            if name == "prometheus_rule_group_interval_seconds" and "wattlens-alerts" not in dict(labels)["rule_group"]
        }
        if groups and all(times >= (2 if every_s <= 120 else 1) for every_s, times in groups.values()):
            return
        if time.monotonic() - began > 3 * max((every_s for every_s, _ in groups.values()), default=20) + 30:
            raise RuntimeError("the rules were not evaluated")
        time.sleep(1)
