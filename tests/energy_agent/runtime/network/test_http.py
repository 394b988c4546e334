"""The HTTP client against servers that do not mean well, are slow, or speak TLS with any authority that others accept."""

import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.text import is_printable
from energy_agent.runtime.network.http import (
    HEADERS_MAX,
    HttpCertificateError,
    HttpClient,
    HttpCostError,
    HttpError,
    HttpProtocolError,
    HttpTimeoutError,
    HttpTlsError,
    HttpTooLargeError,
    HttpTruncatedError,
    HttpUnreachableError,
    basic_authorization,
)
from energy_agent.runtime.network.tls import TlsFiles
from tests.certificates import Authority
from tests.raw_server import OK, RawServer, forever
from tests.support import free_port, need_program

PATIENT_S = 60.0  # what is not to run into its deadline has the time of a busy machine


def get(server: RawServer, path: str = "/metrics", **options):
    return HttpClient(server.url, **{"timeout_s": PATIENT_S, **options}).request("GET", path)


def test_body_by_length_by_chunks_and_by_the_end_of_the_connection() -> None:
    for answer in (
        (OK + b"Content-Length: 9\r\n\r\nup 1\n", b"up 2extra"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nup 1\r\n5;a=b\r\n", b"\nup 2\r\n0\r\n\r\n"),
        (OK + b"\r\nup 1", b"\nup 2"),
        (b"HTTP/1.0 200\r\n\r\n", b"up 1\nup 2"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"\r\nup 1\nup 2"),
        (b"HTTP/1.1 200 OK\nServer: x\n\nup 1\nup 2",),
    ):
        with RawServer(answer) as server:
            assert get(server).body == b"up 1\nup 2"


def test_status_and_headers_are_returned_whatever_the_status() -> None:
    answer = b"HTTP/1.1 503 Not ready\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nno"
    with RawServer([answer]) as server:
        response = get(server)
    assert (response.status, response.reason, response.body, response.ok) == (503, "Not ready", b"no", False)
    assert response.headers["retry-after"] == "7"
    assert response.headers["x-a"] == "1, 2"


def test_redirect_is_not_followed() -> None:
    with RawServer([OK + b"\r\nsecret"]) as target:
        with RawServer([f"HTTP/1.1 302 Found\r\nLocation: {target.url}/\r\nContent-Length: 0\r\n\r\n".encode()]) as server:
            response = HttpClient(server.url, PATIENT_S).request("GET", "/", {"Authorization": basic_authorization("u", "p")})
        assert (response.status, response.ok, target.requests) == (302, False, [])


def test_request_on_the_wire() -> None:
    with RawServer([OK + b"Content-Length: 0\r\n\r\n"]) as server:
        HttpClient(f"{server.url}/base/", PATIENT_S).request("POST", "/v1?a=b", {"X-Key": "k"}, b"body")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /base/v1?a=b HTTP/1.1"
    assert body == b"body"
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert (headers["X-Key"], headers["Content-Length"], headers["Connection"]) == ("k", "4", "close")


def test_deadline_covers_every_part_of_a_response() -> None:
    """Each of these servers sends something within every timeout of a socket, for ever."""
    for name, parts in {
        "silence": [b"", *[b""] * 1000],
        "status line": forever(b"H"),
        "status": (b"HTTP/1.1 200 ", *[b"y"] * 10_000),
        "head": (OK + b"X: ", *[b"y"] * 10_000),
        "headers": (OK, *[b"X: y\r\n"] * 90, *[b"X"] * 10_000),
        "interim": (b"HTTP/1.1 100 Continue\r\nX: ", *[b"y"] * 10_000),
        "body": (OK + b"\r\n", *[b"x"] * 10_000),
        "body by length": (OK + b"Content-Length: 10000\r\n\r\n", *[b"x"] * 10_000),
        "chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"0"] * 10_000),
        "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 10_000),
        "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1", *[b";"] * 10_000),
    }.items():
        with RawServer(parts, pause_s=0.02) as server:
            try:
                get(server, timeout_s=0.15)
            except HttpTimeoutError:
                continue
            pytest.fail(f"no timeout: {name}")


def test_silent_tls_handshake_ends_at_the_deadline() -> None:
    with RawServer(forever(b""), pause_s=0.02) as server, pytest.raises(HttpTimeoutError):
        HttpClient(server.url.replace("http:", "https:"), 0.15).request("GET", "/")


def test_server_that_does_not_read_the_request_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(HttpTimeoutError):
        HttpClient(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.15).request("POST", "/", body=b"x" * (32 << 20))


def test_bounds_of_head_body_and_lines() -> None:
    for options, parts in (
        ({"body_limit_b": 1000}, (OK + b"\r\n", b"x" * 1001)),
        ({"body_limit_b": 1000}, (OK + b"Content-Length: 1001\r\n\r\n",)),
        ({"body_limit_b": 1000}, (OK + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,)),
        ({"body_limit_b": 1000}, (OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 1001)),
        ({}, (OK, b"X: " + b"y" * 70_000)),
        ({}, (OK, *[b"X: " + b"y" * 60_000 + b"\r\n"] * 4)),
        ({}, (OK, b"y" * 200_000)),
    ):
        with RawServer(parts) as server, pytest.raises(HttpTooLargeError):
            get(server, **options)
    with RawServer([OK + b"\r\n" + b"x" * 1000]) as server:
        assert len(get(server, body_limit_b=1000).body) == 1000


def test_cpu_time_is_bounded() -> None:
    tiny = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000
    with RawServer([tiny]) as server, pytest.raises(HttpCostError):
        get(server, body_limit_b=1 << 20, cpu_limit_s=0.005)


def test_responses_that_are_not_http() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    for answer in (
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"A: b\r\n folded: c\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1_0\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"X: y\r\n" * (HEADERS_MAX + 1) + b"\r\n",
        chunked + b"zz\r\n",
        chunked + b"-1\r\n",
        chunked + b"1\r\nxx\r\n",
        chunked + b"ffffffffffffffffff\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ):
        with RawServer([answer]) as server, pytest.raises(HttpProtocolError):
            get(server)


def test_incomplete_responses() -> None:
    with RawServer([b""]) as server, pytest.raises(HttpUnreachableError):
        get(server)
    for answer in (
        OK,
        OK[:12],
        OK + b"Content-Length: 9\r\n\r\na 12",
        OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nup",
        OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nup 1\r\n",
    ):
        with RawServer([answer]) as server, pytest.raises(HttpTruncatedError):
            get(server)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_response_or_a_printable_reason(answer: bytes) -> None:
    with RawServer([answer]) as server:
        for prefix in (b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
            server.parts = [prefix + answer]
            try:
                reason = get(server).reason
            except HttpError as error:
                reason = str(error)
            assert is_printable(reason)


def test_unusable_addresses_and_headers() -> None:
    with pytest.raises(HttpUnreachableError):
        HttpClient(f"http://127.0.0.1:{free_port()}", PATIENT_S).request("GET", "/")
    for url in ("ftp://localhost", "http://localhost:99999", "localhost", "http://[::1", ""):
        with pytest.raises(HttpProtocolError):
            HttpClient(url, PATIENT_S).request("GET", "/")
    with RawServer([OK + b"\r\n"]) as server:
        for path, headers in (
            ("/a b", {}),
            ("/\r\nX: y", {}),
            ("/", {"A": "secret\r\nB: c"}),
            ("/", {"A:": "secret"}),
            ("x", {}),
        ):
            with pytest.raises(HttpProtocolError) as caught:
                HttpClient(server.url, PATIENT_S).request("GET", path, headers)
            assert "secret" not in str(caught.value)
        assert server.requests == []


def test_unix_socket_and_ipv6(tmp_path: Path) -> None:
    with RawServer([OK + b"\r\nhello"], path=tmp_path / "s"):
        assert HttpClient("http://agent", PATIENT_S, unix_socket=tmp_path / "s").request("GET", "/").body == b"hello"
    with pytest.raises(HttpUnreachableError):
        HttpClient("http://agent", PATIENT_S, unix_socket=tmp_path / "none").request("GET", "/")
    with RawServer([OK + b"\r\nhello"], family=socket.AF_INET6) as server:
        assert HttpClient(f"http://[::1]:{server.port}", PATIENT_S).request("GET", "/").body == b"hello"


def test_unix_socket_with_full_queue_times_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        first.connect(str(tmp_path / "s"))
        client = HttpClient("http://agent", 0.15, unix_socket=tmp_path / "s")
        with pytest.raises(HttpTimeoutError):
            client.request("GET", "/")


def test_refusal_before_the_whole_request_is_read_is_the_response(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def refuse() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

        thread = threading.Thread(target=refuse)
        thread.start()
        response = HttpClient("http://agent", PATIENT_S, unix_socket=tmp_path / "s").request("POST", "/", body=b"x" * (8 << 20))
        thread.join()
    assert (response.status, response.body) == (403, b"no")


def read_and_fail(server: RawServer) -> None:
    with HttpClient(server.url, PATIENT_S).stream("GET", "/") as response:
        assert list(response.chunks()) == [b"hello"]
        raise KeyError("x")


def test_failure_of_the_reader_of_a_stream_is_its_own() -> None:
    with RawServer([OK + b"\r\nhello"]) as server, pytest.raises(KeyError):
        read_and_fail(server)


def test_lines_of_a_stream_without_end() -> None:
    parts = (
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"6\r\none\ntw\r\n",
        b"4\r\no\n\nt\r\n",
        b"5\r\nhree\n\r\n",
        b"0\r\n\r\n",
    )
    with RawServer(parts, pause_s=0.01) as server, HttpClient(server.url, PATIENT_S).stream("GET", "/") as response:
        assert list(response.lines(100, PATIENT_S)) == [b"one", b"two", b"", b"three"]
    many = [OK + b"\r\n", *[b"x" * 999 + b"\n"] * 3000]  # more in all than any one body may have
    with RawServer(many) as server:
        assert len(read_lines(server, PATIENT_S)) == 3000
    for lines, error in (([b"x" * 2000], HttpTooLargeError), ([b"half"], HttpTruncatedError)):
        with RawServer((OK + b"\r\n", *lines), pause_s=0.005) as server, pytest.raises(error):
            read_lines(server, PATIENT_S)
    with RawServer((OK + b"\r\n", *[b"x"] * 500), pause_s=0.005) as server, pytest.raises(HttpTimeoutError):
        read_lines(server, 0.15)  # a line that drips is silence


def read_lines(server: RawServer, silence_s: float) -> list[bytes]:
    with HttpClient(server.url, PATIENT_S).stream("GET", "/") as response:
        return list(response.lines(1000, silence_s))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    authority.issue("server", "IP:127.0.0.1,DNS:localhost")
    authority.issue("client", "DNS:client.example")
    return authority


def serving(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_with_an_authority_and_a_client_certificate(authority: Authority, tmp_path: Path) -> None:
    folder = authority.folder
    tls = serving(folder / "server.pem", folder / "server.key", authority.ca)
    mine = TlsFiles(authority.ca, folder / "client.pem", folder / "client.key")
    with RawServer([OK + b"\r\nhello"], tls=tls) as server:
        assert get(server, tls=mine).body == b"hello"
        with pytest.raises(HttpError):
            get(server, tls=TlsFiles(authority.ca))
        with pytest.raises(HttpCertificateError, match=r"meter\.ca_file"):
            get(server, ca_option="meter.ca_file")
        with pytest.raises(HttpCertificateError):
            get(server, tls=TlsFiles(tmp_path / "none.pem"))
        with pytest.raises(HttpCertificateError):
            get(server, tls=TlsFiles(folder / "server.key"))
    with RawServer([OK + b"\r\nhello"], tls=serving(folder / "server.pem", folder / "server.key")) as server:
        assert get(server, tls=TlsFiles(verify=False)).body == b"hello"
        other = HttpClient(server.url.replace("127.0.0.1", "127.0.0.2"), PATIENT_S, TlsFiles(authority.ca))
        with pytest.raises(HttpError):
            other.request("GET", "/")
    with RawServer([OK + b"\r\nhello"]) as server, pytest.raises(HttpTlsError):
        HttpClient(server.url.replace("http:", "https:"), PATIENT_S, TlsFiles(authority.ca)).request("GET", "/")


def test_tls_context_is_created_once_until_a_file_changes(authority: Authority, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.ca.read_bytes())
    first = TlsFiles(ca).context()
    assert TlsFiles(ca).context() is first
    assert TlsFiles().context() is TlsFiles().context()
    ca.write_bytes(authority.ca.read_bytes() + b"\n")
    os.utime(ca, ns=(1, 1))
    assert TlsFiles(ca).context() is not first


def test_authorities_that_go_and_curl_accept(tmp_path: Path) -> None:
    """An authority without key usage, and an intermediate authority as the one to trust."""
    openssl = need_program("openssl")

    def run(*arguments: object) -> None:
        subprocess.run([openssl, *map(str, arguments)], check=True, capture_output=True, cwd=tmp_path)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (tmp_path / "bare.cnf").write_text(
        "[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\nbasicConstraints=CA:TRUE\n"
    )
    run(
        "req",
        "-x509",
        *curve,
        "-config",
        "bare.cnf",
        "-keyout",
        "root.key",
        "-out",
        "root.pem",
        "-subj",
        "/CN=root",
        "-days",
        "9",
    )
    (tmp_path / "ca.ext").write_text("basicConstraints=CA:TRUE\n")
    (tmp_path / "leaf.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, issuer, extensions in (("middle", "root", "ca.ext"), ("leaf", "middle", "leaf.ext")):
        run("req", "-new", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
            "-CAcreateserial", "-days", "9", "-extfile", extensions)  # fmt: skip
    chain = tmp_path / "chain.pem"
    chain.write_bytes((tmp_path / "leaf.pem").read_bytes() + (tmp_path / "middle.pem").read_bytes())
    with RawServer([OK + b"\r\nhello"], tls=serving(chain, tmp_path / "leaf.key")) as server:
        for trusted in ("root.pem", "middle.pem"):
            assert get(server, tls=TlsFiles(tmp_path / trusted)).body == b"hello", trusted


def test_concurrent_requests_do_not_share_bounds() -> None:
    with RawServer([OK + b"\r\n" + b"x" * 100_000]) as server:
        client = HttpClient(server.url, PATIENT_S, body_limit_b=100_000)
        sizes: list[int] = []
        threads = [threading.Thread(target=lambda: sizes.append(len(client.request("GET", "/").body))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sizes == [100_000] * 8


def test_requests_leave_nothing_behind() -> None:
    """Not even for the garbage collector: an agent polls for months, and collects rarely."""
    with RawServer([OK + b"\r\n" + b"x" * 10_000]) as server:
        client = HttpClient(server.url, PATIENT_S)
        for _ in range(5):
            client.request("GET", "/")
        gc.collect()
        gc.disable()
        tracemalloc.start()
        before_b = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            client.request("GET", "/")
            server.requests.clear()
        grown_b = tracemalloc.get_traced_memory()[0] - before_b
        tracemalloc.stop()
        gc.enable()
    assert grown_b < 100_000


INTERRUPTED = """
import os, signal, socket, sys, threading
from energy_agent.runtime.network.http import HttpClient, HttpError

listener = socket.create_server(("127.0.0.1", 0))

def press():
    connection, _ = listener.accept()
    connection.recv(1)  # the request is sent: its answer is waited for
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()

threading.Thread(target=press, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # this thread alone: the signal interrupts the other one
try:
    HttpClient(f"http://127.0.0.1:{listener.getsockname()[1]}", 100).request("GET", "/")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_signal_that_interrupts_no_wait_is_handled_long_before_the_deadline():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
