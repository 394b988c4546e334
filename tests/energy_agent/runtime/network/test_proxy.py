"""Proxies of the environment: which requests use one, what a proxy receives, and that polls of tenants never do."""

import base64
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from inspect import signature
from pathlib import Path

import pytest

from energy_agent.runtime.network.http import HttpClient, HttpError, HttpUnreachableError
from energy_agent.runtime.network.proxy import find_proxy
from energy_agent.runtime.network.tls import TlsFiles
from energy_agent.tokens.endpoint import fetch
from energy_agent.tokens.poller import TokenPoller
from energy_agent.tokens.reading import EndpointError
from tests.certificates import Authority
from tests.raw_server import OK, RawServer
from tests.support import free_port

PATIENT_S = 60.0
NAMES = [name for pair in ("http", "https", "all", "no") for name in (f"{pair}_proxy", f"{pair.upper()}_PROXY")]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("example.com", "example.com", True),
        ("example.com", "a.example.com", True),
        (".example.com", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com", "example.com.evil.org", False),
        ("EXAMPLE.com", "Example.COM.", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:9090", "fd00::1", True),
        ("example.com:9090", "example.com", True),
        ("example.com:80", "example.com", False),
        ("*", "example.com", True),
        (" a.org , example.com", "example.com", True),
        ("", "example.com", False),
        (",", "example.com", False),
        ("/8", "10.1.2.3", False),
    ],
)
def test_no_proxy_names_hosts_networks_and_ports(no_proxy: str, host: str, direct: bool) -> None:
    environ = {"HTTP_PROXY": "http://cache:3128", "NO_PROXY": no_proxy}
    assert (find_proxy("http", host, 9090, environ) is None) == direct


def test_the_machine_itself_is_reached_without_a_proxy() -> None:
    environ = {"ALL_PROXY": "http://cache:3128"}
    assert [find_proxy("http", host, 80, environ) for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1")] == [None] * 4
    assert find_proxy("https", "example.com", 443, environ) is not None


def test_each_scheme_has_its_variable_and_lower_case_comes_first() -> None:
    environ = {"http_proxy": "a:1", "HTTP_PROXY": "http://b:2", "HTTPS_PROXY": "http://c"}
    assert str(find_proxy("http", "example.com", 80, environ)) == "proxy a:1"
    assert str(find_proxy("https", "example.com", 443, environ)) == "proxy c:80"
    assert find_proxy("https", "example.com", 443, {"http_proxy": "a:1", "HTTPS_PROXY": " "}) is None


@pytest.mark.parametrize(
    "text", ["https://u:secret@cache:1", "socks5://u:secret@cache", "http://u:secret@cache:port", "http://"]
)
def test_an_unsupported_proxy_is_refused_without_its_password(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", text)
    with pytest.raises(HttpUnreachableError, match="HTTP_PROXY: expected http://") as caught:
        HttpClient("http://prometheus.example", PATIENT_S).request("GET", "/")
    assert "secret" not in str(caught.value)


def test_a_proxy_receives_the_whole_address_and_its_own_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer([OK + b"Content-Length: 2\r\n\r\nup"]) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        client = HttpClient("http://prometheus.example:9090/base", PATIENT_S)
        assert client.request("GET", "/api?query=up", {"Authorization": "Bearer t"}).body == b"up"
    first, *lines = proxy.requests[0].decode().split("\r\n")
    assert first == "GET http://prometheus.example:9090/base/api?query=up HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert headers["Host"] == "prometheus.example:9090"
    assert base64.b64decode(headers["Proxy-Authorization"].removeprefix("Basic ")) == b"me:p@ss"


@contextmanager
def tunnel(target_port: int, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Iterator[tuple[int, list[str]]]:
    """A proxy that answers CONNECT and then copies bytes to a port of this machine, whatever host the client names."""
    listener = socket.create_server(("127.0.0.1", 0))
    heads: list[str] = []

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", target_port)) as server:
                head = b""
                while b"\r\n\r\n" not in head and (data := client.recv(1)):
                    head += data
                heads.append(head.decode())
                client.sendall(answer)
                back = threading.Thread(target=copy, args=(server, client), daemon=True)
                back.start()
                copy(client, server)
                back.join(PATIENT_S)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        listener.close()


def test_https_goes_through_a_tunnel_and_the_servers_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "DNS:prometheus.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    for name, trusted in (("prometheus.example", True), ("other.example", False)):
        with RawServer([OK + b"Content-Length: 2\r\n\r\nup"], tls=context) as server, tunnel(server.port) as (port, heads):
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{port}")
            client = HttpClient(f"https://{name}:9443", PATIENT_S, TlsFiles(authority.ca))
            if trusted:
                assert client.request("GET", "/", {"Authorization": "Bearer token"}).body == b"up"
            else:
                with pytest.raises(HttpError, match="certificate"):
                    client.request("GET", "/")
        assert heads[0].startswith(f"CONNECT {name}:9443 HTTP/1.1\r\nHost: {name}:9443\r\nProxy-Authorization: Basic ")
        assert "token" not in heads[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "sent data before"),
        (b"hello", "not HTTP"),
    ],
)
def test_a_proxy_that_gives_no_tunnel_is_named(answer: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer([answer]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        with pytest.raises(HttpError, match=reason) as caught:
            HttpClient("https://prometheus.example", PATIENT_S).request("GET", "/")
    assert "secret" not in str(caught.value)


def test_a_proxy_that_wants_a_password_is_not_taken_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer([b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(HttpUnreachableError, match=f"proxy 127.0.0.1:{proxy.port}: 407"):
            HttpClient("http://prometheus.example", PATIENT_S).request("GET", "/")


def test_a_proxy_that_does_not_listen_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{port}")
    with pytest.raises(HttpUnreachableError, match=f"proxy 127.0.0.1:{port}: connection refused"):
        HttpClient("http://prometheus.example", PATIENT_S).request("GET", "/")


def test_polls_of_tenants_and_the_agents_socket_stay_direct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer([OK + b"Content-Length: 2\r\n\r\nup"], path=tmp_path / "s"), RawServer([OK + b"\r\nup 1\n"]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert HttpClient("http://agent", PATIENT_S, unix_socket=tmp_path / "s").request("GET", "/").body == b"up"
        poll = signature(TokenPoller).parameters["fetch"].default
        with pytest.raises(EndpointError):
            poll("http://tenant.invalid/metrics", ("up",), timeout_s=0.5)
        assert proxy.requests == []
        assert fetch("http://tenant.invalid/metrics", ("up",)).strip() == "up 1"
        assert len(proxy.requests) == 1


def test_a_command_reaches_prometheus_through_the_proxy(tmp_path: Path) -> None:
    with RawServer([b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"]) as proxy:
        environ = {k: v for k, v in os.environ.items() if k not in NAMES} | {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"}
        subprocess.run(
            [sys.executable, "-m", "wattlens", "usage", "--prometheus", "http://prometheus.example:9090"],
            env=environ, capture_output=True, check=False,
        )  # fmt: skip
    assert any(request.startswith(b"GET http://prometheus.example:9090/") for request in proxy.requests)
