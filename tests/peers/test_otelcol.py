"""A real OpenTelemetry collector that scrapes the OpenMetrics page and sends it on by OTLP to a real Prometheus.

Both translate names: the collector's receiver takes units and types apart, Prometheus puts them together again.
"""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from energy_agent.exposition import site
from energy_agent.exposition.openmetrics import Format, render
from tests.doubles.page_server import PageServer
from tests.site_player import SitePlayer
from tests.snapshots import Player
from tests.support import eventually, free_port, need_peer

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(180)]

Key = tuple[str, frozenset[tuple[str, str]]]
TARGET = {"job", "instance", "__name__"}


def samples(page: str) -> dict[Key, float]:
    """What the page has, by name and labels."""
    return {
        key({"__name__": s.name, **s.labels}): float(s.value)
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }


PAGES = {
    "agent": lambda: render(Player(gpus=2, health=True, node=True).at(5), Format.OPENMETRICS),
    "site": lambda: site.render(SitePlayer().now(), Format.OPENMETRICS),
}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """The page of an agent or a site with everything that they can show, and the port that serves it."""
    body = PAGES[request.param]()
    with PageServer(lambda: body, content_type=Format.OPENMETRICS.value) as server:
        yield body.decode(), server.port


@pytest.fixture
def stored(page: tuple[str, int], tmp_path: Path) -> Iterator[int]:
    """The port of a Prometheus to which a collector sends the page."""
    port = free_port()
    (tmp_path / "prometheus.yml").write_text("{}")
    scrape = {
        "job_name": "wattlens", "scrape_interval": "1s", "scrape_timeout": "1s", "scrape_protocols": ["OpenMetricsText1.0.0"],
        "static_configs": [{"targets": [f"127.0.0.1:{page[1]}"]}],
    }  # fmt: skip
    sent = {"endpoint": f"http://127.0.0.1:{port}/api/v1/otlp", "compression": "none"}
    collector = {
        "receivers": {"prometheus": {"config": {"scrape_configs": [scrape]}}},
        "exporters": {"otlphttp": sent},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {"receivers": ["prometheus"], "exporters": ["otlphttp"]}},
        },
    }
    (tmp_path / "collector.yaml").write_text(json.dumps(collector))
    commands = (
        [str(need_peer("prometheus")), f"--config.file={tmp_path / 'prometheus.yml'}",
         f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}", "--web.enable-otlp-receiver"],
        [str(need_peer("otelcol")), "--config", str(tmp_path / "collector.yaml")],
    )  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        running = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    yield port
    for process in running:
        process.terminate()
        process.wait(20)


def read(port: int) -> dict[Key, float]:
    query = urllib.parse.urlencode({"query": '{__name__=~"wattlens_.+"}'})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=10) as reply:
            series = json.load(reply)["data"]["result"]
    except OSError:
        return {}
    return {key(s["metric"]): float(s["value"][1]) for s in series}


def key(labels: Mapping[str, str]) -> Key:
    """Of a series. Translators write the edge 1.0 of a bucket as 1, so edges are compared as numbers."""
    edge = {"le": str(float(labels["le"]))} if "le" in labels else {}
    return labels["__name__"], frozenset((k, v) for k, v in {**labels, **edge}.items() if v and k not in TARGET)


def test_names_and_labels_are_those_of_the_page(page: tuple[str, int], stored: int) -> None:
    wanted = samples(page[0])
    assert len(wanted) > 30
    eventually(lambda: len(read(stored)) >= len(wanted), 60)
    values = read(stored)
    assert set(values) == set(wanted)
    assert values == pytest.approx(wanted)
