"""The recording rules under VictoriaMetrics and vmalert: the same series as under Prometheus, of the same servers."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dashboards.rules.rules import groups
from tests.dashboards.bench import ROOT, RULES_S, api, playing_fleet, scraping, started
from tests.snapshots import Player
from tests.support import eventually, free_port, need_peer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(360)]


@contextmanager
def recording(home: Path, targets: Any) -> Iterator[str]:
    """Address of a VictoriaMetrics that scrapes `targets` and into which vmalert records."""
    jobs: dict[str, list[dict[str, object]]] = {}
    for target in targets:
        jobs.setdefault(target.job, []).append({"targets": [f"127.0.0.1:{target.port}"], "labels": dict(target.labels)})
    scrapes = [{"job_name": job, "static_configs": group} for job, group in jobs.items()]
    (home / "scrape.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes}))
    rules = (ROOT / "dashboards/prometheus/wattlens-rules.yml").read_text()
    rules = re.sub(r"interval: \d+[sm]", f"interval: {RULES_S}s", rules)
    (home / "rules.yml").write_text(re.sub(r"\[[15]m\]", "[20s]", rules))
    store, alerts, rules_home = f"http://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", home / "vmalert"
    rules_home.mkdir()
    of_store = [str(need_peer("victoria-metrics")), f"-storageDataPath={home / 'data'}",
                f"-promscrape.config={home / 'scrape.yml'}", f"-httpListenAddr={store.removeprefix('http://')}",
                "-search.latencyOffset=0s", "-retentionPeriod=1d"]  # fmt: skip
    of_rules = [str(need_peer("vmalert")), f"-rule={home / 'rules.yml'}", f"-datasource.url={store}",
                f"-remoteWrite.url={store}", f"-httpListenAddr={alerts}", "-notifier.blackhole",
                "-remoteWrite.flushInterval=500ms", "-rule.evalDelay=0s"]  # fmt: skip
    with started(of_store, home, f"{store}/health"), started(of_rules, rules_home, f"http://{alerts}/health"):
        yield store


def series(url: str, name: str) -> set[frozenset[tuple[str, str]]]:
    """Label sets of a recorded name, now."""
    return {frozenset(s["metric"].items()) for s in api(url, "query", query=f'{{__name__="{name}"}}')["result"]}


def test_vmalert_records_the_series_that_prometheus_records(tmp_path: Path) -> None:
    player = Player(gpus=4, node=True)
    prometheus, victoria = tmp_path / "prometheus", tmp_path / "victoria"
    prometheus.mkdir()
    victoria.mkdir()
    names = sorted({rule.record for group in groups() for rule in group.rules})
    with (
        playing_fleet(player) as targets,
        recording(victoria, targets) as store,
        scraping(prometheus, targets, window_s=20) as url,
    ):

        def differing() -> list[str]:
            return [name for name in names if series(url, name) != series(store, name)]

        def warm() -> bool:
            return len(series(url, "model:wattlens_joules_per_token:ratio_rate5m")) == 18

        eventually(warm, every=1.0)
        eventually(lambda: not differing(), 90, every=2.0)
