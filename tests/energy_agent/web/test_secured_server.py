"""The server over TLS and with credentials, against real clients: the standard library's, curl's and openssl's ways."""

import base64
import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from energy_agent.config.agent import Web
from energy_agent.web.access import AccessControl
from energy_agent.web.server import WebServer
from tests.certificates import Authority, hashed
from tests.energy_agent.web.test_server import Stage, Still
from tests.snapshots import Player

PASSWORD = "right"
SIGNED_IN = {"Authorization": "Basic " + base64.b64encode(b"prometheus:right").decode()}


class Secured(Stage):
    """A running server whose web-config file is `text`, and clients of an authority."""

    def __init__(self, authority: Authority, text: str, look_s: float = 0.0, **options: Any) -> None:
        self.authority = authority
        self.file = authority.folder / f"web-{time.monotonic_ns()}.yml"
        self.file.write_text(text)
        self.access = AccessControl(Web(config_file=self.file), look_s=look_s)
        self.clock = Still()
        self.snapshot = Player(gpus=3).at(5)
        self.server = WebServer("127.0.0.1", 0, lambda: self.snapshot, self.clock, access=self.access, **options)

    def context(self, client: str = "", **options: Any) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        if client:
            context.load_cert_chain(self.authority.folder / f"{client}.pem", self.authority.folder / f"{client}.key")
        for key, value in options.items():
            setattr(context, key, value)
        return context

    def shake(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        return context.wrap_socket(self.connect(), server_hostname="127.0.0.1")

    def get(self, context: ssl.SSLContext | None, path: str = "/healthz", headers: dict[str, str] | None = None) -> bytes:
        """All that comes back."""
        lines = "".join(f"{key}: {value}\r\n" for key, value in (headers or {}).items())
        with self.shake(context) if context else self.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    it = Authority(tmp_path_factory.mktemp("ca"))
    it.issue("server", "IP:127.0.0.1,DNS:localhost")
    it.issue("prometheus", "DNS:prometheus.example")
    it.issue("other", "DNS:other.example")
    Authority(it.folder / "elsewhere", "elsewhere").issue("stranger", "DNS:prometheus.example", into=it.folder)
    return it


TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key"
MUTUAL = f"{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"


def test_tls_answers_without_http2_or_old_versions(authority: Authority) -> None:
    stage = Secured(authority, f"{TLS}}}")
    with stage.server:
        context = stage.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with stage.shake(context) as client:
            assert (client.version(), client.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        answer = stage.get(stage.context(), "/metrics")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"wattlens_gpu_up" in answer
        assert b"Strict-Transport-Security" not in answer
        assert b"Server:" not in answer
        assert b"0.1.0" not in answer.partition(b"\r\n\r\n")[0]


def test_versions_and_suites_are_those_of_the_file(authority: Authority) -> None:
    stage = Secured(authority, f"{TLS}, max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]}}")
    with stage.server:
        with stage.shake(stage.context()) as client:
            assert (client.version(), client.cipher()[0]) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")  # type: ignore[index]
        with pytest.raises(ssl.SSLError):
            stage.shake(stage.context(minimum_version=ssl.TLSVersion.TLSv1_3)).close()
    stage = Secured(authority, f"{TLS}, cipher_suites: [TLS_AES_128_GCM_SHA256]}}")
    with stage.server, pytest.raises(ssl.SSLError):
        stage.shake(stage.context(maximum_version=ssl.TLSVersion.TLSv1_2)).close()


def refused(stage: Secured, client: str) -> bool:
    """With TLS 1.3 a client learns of it at its first read."""
    try:
        return stage.get(stage.context(client)) == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize(
    ("settings", "without"),
    [
        (f"{MUTUAL}}}", {""}),
        (f"{MUTUAL}, client_allowed_sans: [prometheus.example]}}", {"", "other"}),
        (f"{TLS}, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem}}", set()),
    ],
)
def test_only_clients_with_an_allowed_certificate_are_served(authority: Authority, settings: str, without: set[str]) -> None:
    stage = Secured(authority, settings)
    with stage.server:
        for client in ("", "prometheus", "other", "stranger"):
            if client in without | {"stranger"}:
                assert refused(stage, client), client
            else:
                assert b" 200 OK" in stage.get(stage.context(client)), client


def test_plain_http_on_the_tls_port_is_explained(authority: Authority) -> None:
    stage = Secured(authority, f"{TLS}}}")
    with stage.server:
        assert stage.get(None).endswith(b"this port speaks HTTPS\n")


def test_silent_and_broken_handshakes_block_no_client(authority: Authority) -> None:
    stage = Secured(authority, f"{TLS}}}", connections=8, request_s=600.0)
    with stage.server, ExitStack() as stack:
        clients = [stack.enter_context(stage.connect())]
        for k in range(24):
            clients[-1].sendall(b"\x16\x03\x01\x02\x00\x01"[: k % 7])
            assert b" 200 OK" in stage.get(stage.context())
            clients.append(stack.enter_context(stage.connect()))
        assert all(client.recv(1) == b"" for client in clients[:16])  # they gave way
    stage = Secured(authority, f"{TLS}}}", request_s=0.5)
    with stage.server, stage.connect() as silent:
        assert silent.recv(1) == b""  # sent away at the deadline


def test_renewed_certificate_is_served_to_new_connections(authority: Authority, tmp_path: Path) -> None:
    for end in ("pem", "key"):
        (tmp_path / f"server.{end}").write_bytes((authority.folder / f"server.{end}").read_bytes())
    secured = Secured(authority, f"tls_server_config: {{cert_file: {tmp_path}/server.pem, key_file: {tmp_path}/server.key}}")

    def serial() -> object:
        with secured.shake(secured.context()) as client:
            return client.getpeercert()["serialNumber"]  # type: ignore[index]

    with secured.server:
        before = serial()
        (tmp_path / "server.key").write_text("half of a renewal")
        assert serial() == before
        assert not secured.access.ok
        authority.issue("server", "IP:127.0.0.1", into=tmp_path)
        assert serial() != before
        assert secured.access.ok


def test_every_path_requires_credentials_and_sends_configured_headers(authority: Authority) -> None:
    headers = "http_server_config: {headers: {Strict-Transport-Security: max-age=300, X-Frame-Options: sameorigin}}"
    stage = Secured(authority, f"{TLS}}}\n{headers}\nbasic_auth_users: {{prometheus: {hashed(PASSWORD)}}}")
    with stage.server:
        for path in ("/", "/metrics", "/healthz", "/readyz", "/nothing"):
            answer = stage.get(stage.context(), path)
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b'WWW-Authenticate: Basic realm="wattlens"' in answer
            assert b"node-1" not in answer
        answer = stage.get(stage.context(), "/", SIGNED_IN)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"X-Frame-Options: ") == answer.count(b"X-Frame-Options: sameorigin") == 1
        assert b"Strict-Transport-Security: max-age=300\r\n" in answer


def test_guessing_is_answered_429_and_the_known_scraper_goes_on(authority: Authority) -> None:
    stage = Secured(authority, f"basic_auth_users: {{prometheus: {hashed(PASSWORD)}}}")
    with stage.server:
        assert stage.get(None, "/metrics", SIGNED_IN).startswith(b"HTTP/1.1 200 ")
        statuses = []
        for k in range(30):
            wrong = {"Authorization": "Basic " + base64.b64encode(f"prometheus:{k}".encode()).decode()}
            answer = stage.get(None, "/metrics", wrong)
            statuses.append(answer[9:12])
            assert stage.get(None, "/metrics", SIGNED_IN).startswith(b"HTTP/1.1 200 ")
        assert set(statuses) == {b"401", b"429"}
        assert b"Retry-After: " in answer


def test_many_requests_of_one_address_get_429() -> None:
    stage = Stage(requests_per_s=1)
    with stage.server:
        began_s = time.monotonic()
        answer = stage.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        assert 2 <= answer.count(b" 200 OK") <= 2 + (time.monotonic() - began_s)
        assert answer.count(b" 429 ") == 1
        assert b"Retry-After: 1\r\n" in answer


def test_a_flood_of_connections_of_one_address_is_reset_and_another_address_goes_on() -> None:
    stage = Stage(arrivals_per_s=1)
    with stage.server, ExitStack() as stack:
        got, began_s = [], time.monotonic()
        for _ in range(40):
            try:
                client = stack.enter_context(stage.connect())
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                got.append(client.recv(1000)[9:12])
            except ConnectionError:
                got.append(b"reset")
        assert b"reset" in got
        assert 3 <= got.count(b"200") <= 3 + (time.monotonic() - began_s)
        other = socket.create_connection(("127.0.0.1", stage.server.port), 60, source_address=("127.0.0.2", 0))
        stack.callback(other.close)
        other.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"200 OK" in other.recv(1000)


def test_answered_client_keeps_its_slot_before_idle_connections() -> None:
    stage = Stage(connections=4)
    with stage.server, stage.connect() as scraper, ExitStack() as stack:
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        scraper.sendall(request)
        assert b"200 OK" in scraper.recv(1000)
        address = ("127.0.0.1", stage.server.port)
        others = [socket.create_connection(address, 60, source_address=(f"127.0.0.{2 + k}", 0)) for k in range(12)]
        for client in others:
            stack.enter_context(client)
        assert all(client.recv(1) == b"" for client in others[:9])
        scraper.sendall(request)
        assert b"200 OK" in scraper.recv(1000)


def test_the_probe_port_has_the_probes_alone() -> None:
    stage = Stage(probes_only=True)
    with stage.server:
        assert stage.ask("GET", "/healthz")[0] == stage.ask("GET", "/readyz")[0] == 200
        for path in ("/metrics", "/"):
            assert stage.ask("GET", path)[::2] == (404, b"not found; available: /healthz /readyz\n")
