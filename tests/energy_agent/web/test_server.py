"""The web server against real sockets, and clients that are slow, silent, greedy or broken."""

import gzip
import http.client
import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.openmetrics import Format, render
from energy_agent.web.server import WebServer
from tests.snapshots import Player
from tests.support import eventually

NOW_NS = 1_700_000_000_000_000_000


class Still:
    """A clock that stands; both of its times may be set."""

    now_ns = now_boot_ns = NOW_NS

    def utc_ns(self) -> int:
        return self.now_ns

    def boot_ns(self) -> int:
        return self.now_boot_ns

    def sleep(self, seconds: float) -> None:
        raise AssertionError("the server sleeps by nobody's clock")


class Stage:
    """A running server, its clock and the snapshot that it shows."""

    def __init__(self, **options: Any) -> None:
        self.clock = Still()
        self.snapshot: Snapshot | None = Player(gpus=3).at(5)
        self.server = WebServer("127.0.0.1", 0, lambda: self.snapshot, self.clock, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=60)

    def ask(self, method: str, path: str, accept: str = "") -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)) as client:
            client.request(method, path, headers={"Accept": accept} if accept else {})
            answer = client.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def raw(self, data: bytes) -> bytes:
        """All that comes back until the server closes, over unread bytes with a reset."""
        received = b""
        with self.connect() as client, suppress(ConnectionResetError):
            client.sendall(data)
            while chunk := client.recv(65536):
                received += chunk
        return received


@pytest.fixture
def stage() -> Iterator[Stage]:
    it = Stage()
    with it.server:
        yield it


def test_metrics_are_returned_in_the_requested_format(stage: Stage) -> None:
    assert stage.snapshot is not None
    for accept, fmt in (("", Format.TEXT), ("application/openmetrics-text;version=1.0.0", Format.OPENMETRICS)):
        status, headers, body = stage.ask("GET", "/metrics?x=1", accept)
        assert (status, headers["content-type"], body) == (200, fmt.value, render(stage.snapshot, fmt))


@pytest.mark.parametrize(
    ("encodings", "compressed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("gzip;q=0", False),
        ("identity", False),
        ("xgzip", False),
        ("", False),
    ],
)
def test_metrics_are_compressed_for_a_client_that_takes_gzip(stage: Stage, encodings: str, compressed: bool) -> None:
    plain = stage.ask("GET", "/metrics")[2]
    request = f"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: {encodings}\r\n\r\n"
    head, _, body = stage.raw(request.encode()).partition(b"\r\n\r\n")
    assert (b"Content-Encoding: gzip" in head) == compressed
    assert b"Vary: Accept-Encoding" in head
    assert (gzip.decompress(body) if compressed else body) == plain
    assert len(body) < len(plain) / 4 or not compressed


def test_equal_heads_on_a_connection_are_requests_of_their_own(stage: Stage) -> None:
    healthz = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    bare = b"GET /healthz HTTP/1.1\n\r\nGET /none HTTP/1.1\r\n\r\n"  # the first ends at its empty line
    last = b"HEAD /none HTTP/1.1\r\nConnection: close\r\n\r\n"
    statuses = []
    with stage.connect() as client, client.makefile("rb") as answers:
        for request in (healthz, healthz, healthz + healthz, bare, bare, healthz, last):
            client.sendall(request)
            for _ in range(request.count(b" /")):
                statuses.append(int(answers.readline().split()[1]))
                head = http.client.parse_headers(answers)
                answers.read(0 if request == last else int(head["Content-Length"]))
        assert answers.read() == b""
    assert statuses == [200, 200, 200, 200, 200, 404, 200, 404, 200, 404]


def test_an_expected_scrape_is_rendered_ahead_and_never_older_than_the_snapshot() -> None:
    rendered: list[int] = []

    def page(snapshot: Snapshot, fmt: Format) -> bytes:
        rendered.append((snapshot.boot_ns - NOW_NS) // 10**9)
        return b"%d" % rendered[-1]

    def set_clock(second: float) -> int:
        stage.clock.now_boot_ns = NOW_NS + int(second * 10**9)
        return stage.clock.now_boot_ns

    stage, pages, ahead = Stage(render=page), [], []
    with stage.server:
        for second in range(1, 20):
            stage.snapshot = Player(gpus=3).at(5, set_clock(second))
            if second != 17:
                stage.server.prepare()
            if second in (2, 7, 12, 17):
                ahead.append(second in rendered)
                set_clock(second + 0.5)
                pages.append(stage.ask("GET", "/metrics")[2])
    assert (rendered, ahead) == ([2, 7, 12, 17], [False, False, True, False])
    assert pages == [b"2", b"7", b"12", b"17"]


def test_a_short_response_is_never_compressed(stage: Stage) -> None:
    for path in ("/healthz", "/", "/none"):
        assert b"gzip" not in stage.raw(f"GET {path} HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n".encode())


def test_head_returns_the_length_without_a_body(stage: Stage) -> None:
    length = len(stage.ask("GET", "/metrics")[2])
    answer = stage.raw(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert f"Content-Length: {length}\r\n".encode() in answer
    assert answer.endswith(b"\r\n\r\n")


def test_scrapes_at_once_all_get_the_page() -> None:
    stage = Stage(connections=256)  # an address has half of them, and connections that have just ended may still count
    with stage.server, ThreadPoolExecutor(16) as pool:
        bodies = set(pool.map(lambda _: stage.ask("GET", "/metrics")[2], range(64)))
    assert len(bodies) == 1


def test_before_the_first_snapshot_it_lives_but_is_not_ready(stage: Stage) -> None:
    stage.snapshot = None
    assert stage.ask("GET", "/healthz")[0] == 200
    assert stage.ask("GET", "/readyz")[::2] == (503, b"no snapshot has been taken yet\n")
    assert stage.ask("GET", "/metrics")[0] == 503
    assert b"Not ready" in stage.ask("GET", "/")[2]


def test_a_stalled_loop_is_reported_whatever_utc_does(stage: Stage) -> None:
    hour_ns = 3600 * 10**9
    for step_ns in (0, hour_ns, -hour_ns, 24 * hour_ns, -24 * hour_ns):
        stage.clock.now_ns, stage.clock.now_boot_ns = NOW_NS + step_ns, NOW_NS
        assert stage.ask("GET", "/readyz")[::2] == (200, b"ok\n")
        assert stage.ask("GET", "/metrics")[0] == 200
        stage.clock.now_boot_ns = NOW_NS + 16 * 10**9
        assert stage.ask("GET", "/readyz")[::2] == (503, b"the last snapshot is 16 s old\n")
        assert stage.ask("GET", "/metrics")[0] == 503
        assert stage.ask("GET", "/healthz")[0] == 200


def test_landing_page_describes_the_agent(stage: Stage) -> None:
    status, headers, body = stage.ask("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert all(x in body for x in (b'href="/metrics"', b"0.1.0", b"node-1", b"3 of 3", b"simulated hardware", b"Ready."))


def test_unknown_paths_and_methods(stage: Stage) -> None:
    status, _, body = stage.ask("GET", "/nothing")
    assert (status, body) == (404, b"not found; available: / /healthz /metrics /readyz\n")
    status, headers, _ = stage.ask("POST", "/metrics")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_connection_serves_many_requests_even_sent_at_once(stage: Stage) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert stage.raw(request * 20 + last).count(b"HTTP/1.1 200 OK") == 21


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1 x\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"GET /" + b"a" * 50_000, 414),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nConnection: close\r\nX: " + b"y" * 16_300 + b"\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 16_400 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 30_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_or_too_large_gets_its_status_and_ends(stage: Stage, data: bytes, status: int) -> None:
    assert stage.raw(data).startswith(f"HTTP/1.1 {status} ".encode())
    assert stage.ask("GET", "/healthz")[0] == 200


def test_a_body_is_never_taken_for_a_request(stage: Stage) -> None:
    smuggled = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    assert stage.raw(head + smuggled).count(b"HTTP/1.1 ") == 1


def test_a_client_that_waits_for_100_continue_is_sent_it_before_the_response(stage: Stage) -> None:
    answer = stage.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_old_clients_get_a_connection_of_their_own(stage: Stage) -> None:
    answer = stage.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b"200 OK" in answer
    assert b"Connection: close" in answer


def test_silent_and_slow_clients_block_no_client() -> None:
    stage = Stage(connections=4)
    with stage.server, ExitStack() as stack:
        for _ in range(12):
            client = stack.enter_context(stage.connect())
            client.sendall(b"GET /metr")
            assert stage.ask("GET", "/healthz")[0] == 200


def test_client_that_does_not_read_blocks_no_client() -> None:
    stage = Stage(connections=4, request_s=0.5)
    with stage.server, ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(stage.connect())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)

        def is_answered() -> bool:
            with suppress(OSError, http.client.HTTPException):  # late for half a second, as on a busy machine
                return stage.ask("GET", "/healthz")[0] == 200
            return False

        eventually(is_answered)


def test_a_client_that_sends_a_byte_now_and_then_is_sent_away() -> None:
    stage = Stage(request_s=0.4)
    with stage.server, stage.connect() as client:
        client.settimeout(0.02)
        for byte in b"GET /healthz HTTP/1.1\r\nHost: " + b"x" * 16_000:
            try:
                client.sendall(bytes([byte]))
                if client.recv(1000) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("served to the end")


def test_tls_client_on_the_plain_port_gets_an_explanation() -> None:
    stage = Stage(request_s=60.0)
    with stage.server:
        assert b"this port speaks plain HTTP" in stage.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01")


def test_an_idle_connection_ends() -> None:
    stage = Stage(request_s=600.0, idle_s=0.2)
    with stage.server, stage.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(1000), b"")).endswith(b"ok\n")


def test_a_port_in_use_is_one_clear_line(stage: Stage) -> None:
    with pytest.raises(UsageError) as caught:
        WebServer("127.0.0.1", stage.server.port, lambda: None, stage.clock).start()
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{stage.server.port}: Address already in use; "
        f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()}) uses it; "
        "stop that program, or set web.listen (or --listen) to another address and port"
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "not-a-host.invalid"])
def test_an_address_of_elsewhere_is_one_clear_line(address: str) -> None:
    with pytest.raises(UsageError, match=rf"cannot listen on {address}:9479: .*web\.listen"):
        WebServer(address, 9479, lambda: None, Still()).start()


def test_stop_ends_every_connection_thread_and_frees_the_port() -> None:
    stage = Stage()
    before = threading.active_count()
    stage.server.start()
    with stage.connect() as idle, stage.connect() as busy:
        busy.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert busy.recv(1000)
        stage.server.stop()
        assert idle.recv(1) == busy.recv(1) == b""
    eventually(lambda: threading.active_count() <= before)
    with WebServer("127.0.0.1", stage.server.port, lambda: None, stage.clock):
        pass


def test_stop_amid_arrivals_joins_only_threads_that_run() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places at every step
    try:
        for _ in range(100):
            with WebServer("127.0.0.1", 0, lambda: None, Still()) as server, ExitStack() as clients:
                for _ in range(3):
                    clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                server.stop()
    finally:
        sys.setswitchinterval(interval)


def test_each_snapshot_is_rendered_once_and_a_defect_costs_responses_and_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    snapshots = [Player(gpus=1).at(k) for k in range(1, 5)]
    rendered: list[int] = []

    def render_first_and_last(snapshot: Snapshot, _fmt: Format) -> bytes:
        rendered.append(snapshots.index(snapshot))
        return {0: b"first", 3: b"last"}[rendered[-1]]

    stage = Stage(render=render_first_and_last)
    with stage.server:
        got = []
        for k in (0, 1, 1, 2, 3, 3):
            stage.snapshot = snapshots[k]
            got.append(stage.ask("GET", "/metrics")[::2])
    assert [status for status, _ in got] == [200, 500, 500, 500, 200, 200]
    assert [got[k][1] for k in (0, 4, 5)] == [b"first", b"last", b"last"]
    assert rendered == [0, 1, 2, 3]
    assert len([record for record in caplog.records if record.exc_info]) == 1
