"""The agent's OTLP export into real receivers: Prometheus, VictoriaMetrics, and a collector that sends it on to Prometheus."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashboards.build import build
from dashboards.rules import otlp as otlp_rules
from energy_agent.config.otlp import Otlp
from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.openmetrics import Format, render
from energy_agent.otlp.sender import OtlpSender
from tests.peers.test_otelcol import Key, key, samples
from tests.snapshots import Player
from tests.support import eventually, free_port, need_module, need_peer

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(180)]

HW = {
    "wattlens_gpu_energy_joules_total": "hw_energy_joules_total",
    "wattlens_gpu_power_instant_watts": "hw_power_watts",
    "wattlens_gpu_temperature_celsius": "hw_temperature_celsius",
    "wattlens_gpu_memory_temperature_celsius": "hw_temperature_celsius",
    "wattlens_gpu_utilization_ratio": "hw_gpu_utilization_ratio",
    "wattlens_gpu_encoder_utilization_ratio": "hw_gpu_utilization_ratio",
    "wattlens_gpu_decoder_utilization_ratio": "hw_gpu_utilization_ratio",
    "wattlens_gpu_memory_used_bytes": "hw_gpu_memory_usage_bytes",
    "wattlens_gpu_memory_total_bytes": "hw_gpu_memory_limit_bytes",
    "wattlens_gpu_ecc_errors_total": "hw_errors_total",
    "wattlens_gpu_xid_errors_total": "hw_errors_total",
    "wattlens_gpu_up": "hw_status",
}
"""Names after both translations: into the semantic conventions, and by the receiver into Prometheus names."""
MORE = {
    "wattlens_gpu_temperature_celsius": {"hw_sensor_location": "gpu"},
    "wattlens_gpu_memory_temperature_celsius": {"hw_sensor_location": "memory"},
    "wattlens_gpu_utilization_ratio": {"hw_gpu_task": "general"},
    "wattlens_gpu_encoder_utilization_ratio": {"hw_gpu_task": "encoder"},
    "wattlens_gpu_decoder_utilization_ratio": {"hw_gpu_task": "decoder"},
    "wattlens_gpu_up": {"hw_state": "ok"},
}
RESOURCE = {
    "scope_name",
    "scope_version",
    "job",
    "instance",
    "service_name",
    "service_version",
    "service_instance_id",
    "host_name",
    "deployment_environment_name",
}


def expected(snapshot: Snapshot) -> dict[Key, float]:
    """The series of the page, with the names and labels of the conventions where there are any."""
    return {key(_translated(dict(labels) | {"__name__": name})): value for (name, labels), value in _page(snapshot).items()}


def _page(snapshot: Snapshot) -> dict[Key, float]:
    return samples(render(snapshot, Format.OPENMETRICS).decode())


def _translated(labels: dict[str, str]) -> dict[str, str]:
    name = labels["__name__"]
    if name not in HW:
        return labels
    attributes = {"__name__": HW[name], "hw_type": "gpu", "hw_id": labels["uuid"], "hw_name": f"GPU {labels['gpu']}"}
    for old, new in (("method", "wattlens_method"), ("severity", "error_type"), ("xid", "error_type")):
        if old in labels:
            prefix = {"severity": "ecc_", "xid": "xid_"}.get(old, "")
            attributes[new] = prefix + labels[old]
    return attributes | MORE.get(name, {})


def stored(url: str, names: str = "(wattlens|hw)_.+") -> dict[Key, float]:
    """What a receiver has now, without its labels for the resource."""
    query = urllib.parse.urlencode({"query": f'{{__name__=~"{names}"}}'})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=10) as reply:
            series = json.load(reply)["data"]["result"]
    except OSError:
        return {}
    return {key({k: v for k, v in s["metric"].items() if k not in RESOURCE}): float(s["value"][1]) for s in series}


@contextmanager
def running(folder: Path, *commands: list[str]) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        processes = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) for command in commands]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)


@contextmanager
def prometheus(folder: Path, *flags: str) -> Iterator[tuple[str, str]]:
    """Address to query, and endpoint for OTLP."""
    url = f"127.0.0.1:{free_port()}"
    (folder / "prometheus.yml").write_text(json.dumps({"rule_files": ["*.rules.yml"]}))
    command = [str(need_peer("prometheus")), f"--config.file={folder / 'prometheus.yml'}",
               f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={url}",
               "--web.enable-otlp-receiver", *flags]  # fmt: skip
    with running(folder, command):
        yield f"http://{url}", f"http://{url}/api/v1/otlp"


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[tuple[str, str]]:
    url = f"127.0.0.1:{free_port()}"
    command = [str(need_peer("victoria-metrics")), f"-storageDataPath={folder / 'data'}", f"-httpListenAddr={url}",
               "-search.latencyOffset=0s", "-opentelemetry.usePrometheusNaming"]  # fmt: skip
    with running(folder, command):
        yield f"http://{url}", f"http://{url}/opentelemetry"


@contextmanager
def collector(folder: Path) -> Iterator[tuple[str, str]]:
    with prometheus(folder) as (query, endpoint):
        url = f"127.0.0.1:{free_port()}"
        config: Mapping[str, object] = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": url}}}},
            "exporters": {"otlphttp": {"endpoint": endpoint, "compression": "none"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["otlphttp"]}},
            },
        }
        (folder / "collector.yaml").write_text(json.dumps(config))
        (folder / "otelcol").mkdir()
        with running(folder / "otelcol", [str(need_peer("otelcol")), "--config", str(folder / "collector.yaml")]):
            yield query, f"http://{url}"


@contextmanager
def sending(endpoint: str, **section: object) -> Iterator[list[Snapshot]]:
    """Three snapshots of a player, all of which were accepted."""
    need_module("opentelemetry.exporter.otlp.proto.http")
    snapshots: list[Snapshot] = []

    def newest() -> Snapshot:
        if len(snapshots) < 3 and (not snapshots or sender.health()[0].last_success_ns == snapshots[-1].t_ns):
            snapshots.append(Player(gpus=4, health=True, node=True).at(len(snapshots) + 1, time.time_ns()))
        return snapshots[-1]

    config = {"endpoint": endpoint, "period_s": 1, "resource": {"deployment.environment.name": "lab"}, **section}
    sender = OtlpSender(Otlp.model_validate(config), newest)
    sender.start()
    try:
        eventually(lambda: len(snapshots) == 3 and sender.health()[0].last_success_ns == snapshots[-1].t_ns, 60)
    finally:
        sender.stop()
    yield snapshots


@pytest.mark.parametrize(
    ("receiver", "status"), [(prometheus, "hw_status"), (victoria_metrics, "hw_status_ratio"), (collector, "hw_status")]
)
def test_series_and_values_are_those_of_the_page(receiver, status: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with receiver(tmp_path) as (url, endpoint), sending(endpoint) as snapshots:
        wanted = {(status if name == "hw_status" else name, of): value for (name, of), value in expected(snapshots[-1]).items()}
        assert len(wanted) > 100
        eventually(lambda: stored(url) == pytest.approx(wanted), 30)


def test_with_the_rules_for_otlp_every_series_has_the_name_of_the_page(tmp_path: Path) -> None:
    rules = build.otlp_rules().replace(f"interval: {otlp_rules.INTERVAL}", "interval: 1s")
    (tmp_path / "otlp.rules.yml").write_text(rules)
    with prometheus(tmp_path) as (url, endpoint), sending(endpoint) as snapshots:
        wanted = _page(snapshots[-1])
        eventually(lambda: stored(url, "wattlens_.+") == pytest.approx(wanted), 30)


def test_changes_add_up_in_prometheus_to_what_was_counted_since_the_first_export(tmp_path: Path) -> None:
    flag = "--enable-feature=otlp-deltatocumulative"
    with prometheus(tmp_path, flag) as (url, endpoint), sending(endpoint, temporality="delta") as snapshots:
        first, last = expected(snapshots[0]), expected(snapshots[-1])
        wanted = {of: last[of] - first[of] for of in last if of[0] == "hw_energy_joules_total"}
        assert sum(wanted.values()) > 0
        eventually(lambda: stored(url, "hw_energy_joules_total") == pytest.approx(wanted), 30)
