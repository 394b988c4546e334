"""The sender against real receivers: what arrives, over TLS and with headers, and what a dead or slow one changes."""

import gzip
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otlp")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from energy_agent.config.otlp import Otlp
from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.openmetrics import families
from energy_agent.otlp.exporter import Exporter
from energy_agent.otlp.sender import OtlpSender, read_headers
from tests.certificates import Authority
from tests.snapshots import STEP_UJ, Player
from tests.support import eventually, free_port, refusal

GPUS = 8


class Receiver(ThreadingHTTPServer):
    """An OTLP receiver on loopback that keeps requests and responds with the status that a test sets."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], ExportMetricsServiceRequest]] = []
        self.status, self.delay_s = 200, 0.0
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        time.sleep(self.server.delay_s)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.server.status == 200:
            self.server.requests.append((self.path, headers, ExportMetricsServiceRequest.FromString(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


class Sending:
    """A sender of the snapshots of a player; a fresh one each time."""

    def __init__(self, **section: object) -> None:
        self.step = 0
        self.sender = OtlpSender(Otlp.model_validate({"period_s": 1, "timeout_s": 0.5, **section}), self.newest)

    def newest(self) -> Snapshot:
        self.step += 1
        return Player().at(self.step, time.time_ns())

    def __enter__(self) -> OtlpSender:
        self.sender.start()
        return self.sender

    def __exit__(self, *_: object) -> None:
        self.sender.stop()


def energy_j(request: ExportMetricsServiceRequest) -> float:
    """Sum of hw.energy."""
    metrics = [m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == "hw.energy"]
    return sum(point.as_double for metric in metrics for point in metric.sum.data_points)


def test_receiver_gets_every_series_with_its_resource(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "cloud.region=eu-north-1,cloud.provider=aws")
    endpoint = f"http://127.0.0.1:{receiver.server_port}/base/"
    with Sending(endpoint=endpoint, resource={"cloud.region": "eu-west-1"}) as sender:
        eventually(lambda: receiver.requests and sender.health()[0].up)
    path, headers, request = receiver.requests[0]
    assert path == "/base/v1/metrics"
    assert headers["content-type"] == "application/x-protobuf"
    attributes = {a.key: a.value.string_value for a in request.resource_metrics[0].resource.attributes}
    assert attributes | {"service.version": ""} == {
        "service.name": "wattlens", "service.version": "", "service.instance.id": "node-1", "host.name": "node-1",
        "cloud.provider": "aws", "cloud.region": "eu-west-1",
    }  # fmt: skip
    assert energy_j(request) > 0


def test_a_failing_receiver_is_a_source_that_is_down(receiver: Receiver) -> None:
    receiver.status = 503
    with Sending(endpoint=f"http://127.0.0.1:{receiver.server_port}") as sender:
        eventually(lambda: "exported yet" not in sender.health()[0].reason and sender.health()[0].reason)
        assert not sender.health()[0].up
        receiver.status = 200
        eventually(lambda: sender.health()[0].up)
        assert sender.health()[0].reason == ""


@pytest.mark.parametrize(
    ("scheme", "silent", "reason"),
    [
        ("http", None, "connection refused"),
        ("http", True, "no successful export in time"),
        ("https", False, "TLS failed: wrong version number"),
    ],
)
def test_the_reason_of_a_failed_export_is_plain(receiver: Receiver, scheme: str, silent: bool | None, reason: str) -> None:
    receiver.delay_s = 30.0 if silent else 0.0
    port = free_port() if silent is None else receiver.server_port
    with Sending(endpoint=f"{scheme}://127.0.0.1:{port}", timeout_s=3) as sender:
        assert eventually(lambda: "exported yet" not in sender.health()[0].reason and sender.health()[0].reason) == reason


def test_export_with_expired_timeout_is_not_successful(receiver: Receiver) -> None:
    """As on a machine that is busy: OpenTelemetry's exporter passes what is left of its time, 0, on to urllib3."""
    config = Otlp.model_validate({"endpoint": f"http://127.0.0.1:{receiver.server_port}"}).model_copy(update={"timeout_s": 0})
    snapshot = Player().at(1, time.time_ns())
    assert Exporter(config, {}, families)(snapshot) == "no successful export in time"


def test_deltas_lose_nothing_while_the_receiver_fails(receiver: Receiver) -> None:
    with Sending(endpoint=f"http://127.0.0.1:{receiver.server_port}", temporality="delta") as sender:
        eventually(lambda: sender.health()[0].up)
        receiver.status = 500
        eventually(lambda: not sender.health()[0].up)
        receiver.status = 200
        eventually(lambda: sender.health()[0].up and len(receiver.requests) >= 3)
    requests = [request for _, _, request in receiver.requests]
    assert sum(map(energy_j, requests)) == pytest.approx((step(requests[-1]) - step(requests[0])) * GPUS * STEP_UJ / 1e6)


def step(request: ExportMetricsServiceRequest) -> float:
    """The player's step: the size of its journal grows by a byte a step."""
    metrics = [m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics]
    (size,) = [m.gauge.data_points[0].as_double for m in metrics if m.name == "wattlens.ledger.journal"]
    return size


def test_a_slow_receiver_delays_neither_the_agent_nor_its_end(receiver: Receiver) -> None:
    receiver.delay_s = 30.0
    with Sending(endpoint=f"http://127.0.0.1:{receiver.server_port}", timeout_s=1) as sender:
        eventually(lambda: "exported yet" not in sender.health()[0].reason and not sender.health()[0].up)
    assert threading.active_count() < 20  # one request at a time, whatever the receiver does


def test_tls_trusts_the_named_authority_alone_and_shows_the_clients_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("receiver", "IP:127.0.0.1")
    client, client_key = authority.issue("agent", "DNS:agent")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    (tmp_path / "headers").write_text("# of the lab\nAuthorization: Bearer abc:def==\nX-Scope-OrgID: lab\n")
    with Receiver(context) as receiver:
        endpoint = f"https://127.0.0.1:{receiver.server_port}"
        with Sending(endpoint=endpoint, timeout_s=2) as sender:
            eventually(lambda: "certificate" in sender.health()[0].reason.lower())
        assert receiver.requests == []
        files = {"ca_file": authority.ca, "cert_file": client, "key_file": client_key, "headers_file": tmp_path / "headers"}
        with Sending(endpoint=endpoint, timeout_s=5, **files) as sender:
            eventually(lambda: sender.health()[0].up)
    _, headers, _ = receiver.requests[0]
    assert headers["authorization"] == "Bearer abc:def=="
    assert headers["x-scope-orgid"] == "lab"


@pytest.mark.parametrize("text", ["Authorization", "Bad Name: x", "X: a\x01b", "X:", "\u00fc: x", "A: b\n" * 33])
def test_a_wrong_file_of_headers_is_refused_without_its_content(tmp_path: Path, text: str) -> None:
    file = tmp_path / "headers"
    file.write_text(text)
    message = refusal(read_headers, file)
    assert "otlp.headers_file" in message
    assert text not in message


@pytest.mark.parametrize("key", ["headers_file", "ca_file", "cert_file"])
def test_a_missing_file_is_the_reason_until_it_is_there(receiver: Receiver, tmp_path: Path, key: str) -> None:
    file = tmp_path / "file"
    with Sending(endpoint=f"http://127.0.0.1:{receiver.server_port}", **{key: file}) as sender:
        reason = eventually(lambda: "otlp." in sender.health()[0].reason and sender.health()[0].reason)
        assert f"otlp.{key}" in reason
        assert str(file) in reason
        file.write_text("X-Scope-OrgID: lab\n")
        eventually(lambda: sender.health()[0].up)  # over plain HTTP no certificate is read
