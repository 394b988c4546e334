"""A real Prometheus that scrapes real servers with the committed rules loaded: what tests of dashboards ask and draw from."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dashboards.rules import model
from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.site import render
from energy_agent.runtime.clock import RealClock
from energy_agent.web.server import WebServer
from tests.dashboards.promtool import substituted
from tests.site_player import SITE, STATED_SITE, SitePlayer
from tests.snapshots import Player
from tests.support import at_modifier, eventually, free_port, need_program

ROOT = Path(__file__).parents[2]


def _pace() -> int:
    """Return how many times slower a bench runs than on an idle machine: 1 for up to three runnable tasks per CPU.

    Prometheus drops a scrape that takes longer than its interval, which none may do on a machine with many busy processes.
    """
    runnable = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    return max(1, min(5, runnable // (3 * len(os.sched_getaffinity(0)))))


PACE = _pace()
RULES_S = 1
RATE_S = 5
SETTLED_S = 60 + 10 * PACE
HOSTILE = 'a"b\\c\nd\0e\r\udc80{x="y"} 1 # EOF'
CLUSTER, NODE, GONE = "lab", "node-1", "node-gone"

T = TypeVar("T")


class RefusedError(Exception):
    """A store does not take a query."""


def api(url: str, path: str, **arguments: str) -> Any:
    """Data of a reply of Prometheus, or of what answers like one."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}", timeout=60) as reply:
            return json.load(reply)["data"]
    except urllib.error.HTTPError as error:
        raise RefusedError(f"{url} refuses {arguments}: {error.read().decode()}") from None


@contextmanager
def started(command: Sequence[str], home: Path, health: str) -> Iterator[None]:
    """A store that runs in `home` and keeps its data in `home / "data"`, from when the address `health` responds."""
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(health, timeout=2) as reply:
                return int(reply.status) == 200
        except OSError:
            return False

    try:
        eventually(ready, SETTLED_S)
        yield
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(home / "data", ignore_errors=True)


@dataclass(frozen=True)
class Target:
    """Who is scraped: job, port on loopback, the labels that service discovery would give, and whether anybody is there."""

    job: str
    port: int
    labels: tuple[tuple[str, str], ...] = ()
    is_up: bool = True


@dataclass
class Bench:
    """A Prometheus that scrapes the server twice a second on an idle machine, and what is fed to it."""

    player: Player
    url: str
    pace: int = 1

    def query(self, expr: str, seconds: int = 0) -> list[dict[str, Any]]:
        """Samples of an instant query; panel variables become durations that fit the test."""
        seconds = seconds or RATE_S * self.pace
        values = {"__rate_interval": f"{seconds}s", "__range": f"{seconds}s"}
        return self._get("query", {"query": substituted(expr, values)})

    def range(self, expr: str) -> list[dict[str, Any]]:
        """Series of a range query over the last seconds, as a graph sends it."""
        seconds = RATE_S * self.pace
        values = {"__rate_interval": f"{seconds}s", "__range": f"{seconds}s"}
        end = time.time()
        span = {"start": str(end - seconds), "end": str(end), "step": str(self.pace)}
        return self._get("query_range", {"query": substituted(expr, values), **span})

    def values(self, expr: str) -> dict[tuple[str, ...], float]:
        """Values by (workload, model, energy, tokens, gpu), as far as a sample has them."""
        names = ("workload", "model", "energy", "tokens", "gpu")
        return {tuple(s["metric"].get(n, "") for n in names): float(s["value"][1]) for s in self.query(expr)}

    def _get(self, path: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
        # What a recorded rate adds up to is so many of the rules' own intervals, and these are shorter here.
        arguments["query"] = arguments["query"].replace(f"]) * {model.STEP_S})", f"]) * {RULES_S * self.pace})")
        result: list[dict[str, Any]] = api(self.url, path, **arguments)["result"]
        return result


def settles(read: Callable[[], object], wanted: object) -> None:
    """What is read comes to be as it has to be: figures over minutes need their minutes, here seconds, of samples first."""
    _settles(read, wanted, lambda value: bool(value == wanted))


def each_settles(items: Iterable[T], wrong: Callable[[T], object]) -> None:
    """Each of `items` comes to be right (`wrong` of it is falsy), one by one: on a busy machine a scrape is often late."""
    pending = list(items)

    def all_right() -> bool:
        pending[:] = [item for item in pending if wrong(item)]
        return not pending

    try:
        eventually(all_right, SETTLED_S, every=0.5)
    except pytest.fail.Exception:
        pytest.fail("\n".join(f"{item}: {wrong(item)}" for item in pending))


def settles_among_others(read: Callable[[], Mapping[str, object]], wanted: Mapping[str, object]) -> None:
    """Wait until every expected key has its value; other keys are ignored."""
    _settles(read, wanted, lambda values: all(values.get(key) == value for key, value in wanted.items()))


def _settles(read: Callable[[], Any], wanted: object, is_right: Callable[[Any], bool]) -> None:
    last: list[object] = []

    def holds() -> bool:
        last[:] = [read()]
        return is_right(last[0])

    try:
        eventually(holds, SETTLED_S, every=0.5)
    except pytest.fail.Exception:
        pytest.fail(f"{last[0]} is not {wanted}")


@contextmanager
def playing(player: Player) -> Iterator[list[Target]]:
    """The servers of a node, whose snapshots a player makes, and of its site."""

    def source() -> Snapshot:
        snapshot = player.now()
        return replace(snapshot, namespace_uj={**snapshot.namespace_uj, HOSTILE: 1_000_000})

    clock, site = RealClock(), SitePlayer()
    with (
        WebServer("127.0.0.1", 0, source, clock) as server,
        WebServer("127.0.0.1", 0, site.now, clock, render=render) as of_site,
    ):
        agent = Target("wattlens", server.port, (("cluster", CLUSTER), ("instance", NODE), ("site", SITE)))
        yield [agent, Target("wattlens-site", of_site.port, (("cluster", CLUSTER), ("instance", SITE)))]


@contextmanager
def playing_fleet(player: Player) -> Iterator[list[Target]]:
    """The same, with a second site, which states its PUE, and a node that is gone."""
    stated = SitePlayer(metered=False)
    with playing(player) as targets, WebServer("127.0.0.1", 0, stated.now, RealClock(), render=render) as server:
        site_target = Target("wattlens-site", server.port, (("cluster", CLUSTER), ("instance", STATED_SITE)))
        yield [*targets, site_target, Target("wattlens", free_port(), (("cluster", CLUSTER), ("instance", GONE)), is_up=False)]


@contextmanager
def scraping(
    home: Path,
    targets: Sequence[Target],
    *,
    window_s: int = 300,
    write_to: str = "",
    alerts: bool = False,
    every: str = "",
    pace: int = 1,
) -> Iterator[str]:
    """Address of a Prometheus in `home` that has read all targets at least once.

    Args:
        every: how often it scrapes, and how long it waits for an answer; "": twice a second, slower by the pace.
        pace: how many times slower than usual it scrapes and evaluates rules.
        window_s: the longest that the rules' windows of one minute and of five may be.
        write_to: address of another store that takes all samples by remote_write, within a second.
        alerts: the committed alerts are loaded too, and fire at once; and Prometheus scrapes itself.
    """
    program, port = need_program("prometheus"), free_port()
    recording, alerting = (
        re.sub(
            r"interval: \d+[sm]",
            f"interval: {RULES_S * pace}s",
            (ROOT / f"dashboards/prometheus/wattlens-{name}.yml").read_text(),
        )
        for name in ("rules", "alerts")
    )
    (home / "wattlens-rules.yml").write_text(
        re.sub(r"\[([15])m\]", lambda match: f"[{min(int(match[1]) * 60, window_s)}s]", recording)
    )
    every = every or f"{500 * pace}ms"
    settings = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": f"{RULES_S * pace}s"}
    groups = {
        job: [{"targets": [f"127.0.0.1:{t.port}"], "labels": dict(t.labels)} for t in targets if t.job == job]
        for job in sorted({target.job for target in targets})
    }
    if alerts:
        (home / "wattlens-alerts.yml").write_text(re.sub(r"for: \w+", "for: 0s", alerting))
        groups["prometheus"] = [{"targets": [f"127.0.0.1:{port}"], "labels": {}}]
    scrapes = [{"job_name": job, "static_configs": group} for job, group in groups.items()]
    config = {"global": settings, "rule_files": ["wattlens-*.yml"], "scrape_configs": scrapes}
    if write_to:
        config["remote_write"] = [{"url": write_to, "queue_config": {"batch_send_deadline": "500ms"}}]
    (home / "prometheus.yml").write_text(json.dumps(config))
    url = f"http://127.0.0.1:{port}"
    command = [
        program,
        *at_modifier(),
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with started(command, home, f"{url}/-/ready"):
        up = Bench(Player(), url)
        up_count = sum(target.is_up for target in targets)
        eventually(lambda: len(up.query('up{job!="prometheus"} == 1')) == up_count, SETTLED_S)
        yield url
