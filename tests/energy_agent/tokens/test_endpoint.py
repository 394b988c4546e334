"""Reading metrics endpoints of hostile servers: the reader keeps only required series, within bounds of time, size and CPU."""

import threading
import tracemalloc

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.tokens.endpoint import BODY_LIMIT_B, KEPT_LIMIT_B, LINE_LIMIT_B, LINES_LIMIT, fetch
from energy_agent.tokens.reading import EndpointError
from tests.raw_server import OK, RawServer

HEAD = OK + b"Connection: close\r\n\r\n"
NAMES = ("a_total", "b_total")


def lines(server: RawServer, **more) -> list[str]:
    return fetch(f"{server.url}/metrics", NAMES, **{"timeout_s": 60.0, **more}).split("\n")[1:-1]


def test_lines_with_the_names_are_kept_however_the_response_is_cut() -> None:
    body = 'a_total 1\nab_total 2\n# HELP a_total x\na_total{x="näh"} 3\r\n\tb_total\t4\nxb_total 5\nb_total{} 6\n'.encode()
    kept = ["a_total 1", 'a_total{x="näh"} 3\r', "\tb_total\t4", "b_total{} 6"]
    for size in (1, 7, 1000):
        parts = [body[k : k + size] for k in range(0, len(body), size)]
        with RawServer([HEAD, *parts]) as server:
            assert lines(server) == kept
    with RawServer([HEAD + b"a_total\xff 1\na_total 1\xff\n"]) as server:
        assert lines(server) == ["a_total 1\ufffd"]


def test_path_and_query_are_sent() -> None:
    with RawServer([HEAD + b"a_total 1\n"]) as server:
        fetch(f"{server.url}/x/y?token=secret", NAMES, timeout_s=60.0)
        fetch(server.url, NAMES, timeout_s=60.0)
    assert [request.split(b"\r\n")[0] for request in server.requests] == [b"GET /x/y?token=secret HTTP/1.1", b"GET / HTTP/1.1"]


def test_what_costs_too_much_is_refused_with_that_reason() -> None:
    line = b'a_total{x="%s"} 1\n' % (b"y" * 200)
    for parts in (
        [b"a_total 1\n" * (LINES_LIMIT + 1)],
        [line * (KEPT_LIMIT_B // len(line) + 1)],
        [b"1\r\n\r\n" * 800_000],
    ):
        head = OK + b"Transfer-Encoding: chunked\r\n\r\n" if parts[0].startswith(b"1\r\n") else HEAD
        body = [b"1\r\n\n\r\n" * 600_000] if parts[0].startswith(b"1\r\n") else parts
        with RawServer([head, *body]) as server, pytest.raises(EndpointError, match="response too large"):
            lines(server)
    with RawServer([HEAD + b"a_total 1\n" * 9]) as server, pytest.raises(EndpointError, match="response too large"):
        lines(server, lines_limit=8)


def test_size_of_a_response_and_of_a_line_is_bounded() -> None:
    for body in (b"x\n" * (BODY_LIMIT_B // 2 + 1), b"a_total{" + b"x" * LINE_LIMIT_B + b"} 1\n", b"x" * 200_000):
        with RawServer([HEAD, body]) as server, pytest.raises(EndpointError, match=r"more than|larger than"):
            lines(server)


def test_memory_of_large_responses_is_bounded() -> None:
    """Four times 4 MiB, most of it unwanted."""
    body = (b'other_total{x="%s"} 1\n' % (b"y" * 100)) * 33_000 + b"a_total 1\n"
    with RawServer([HEAD, body]) as server:
        lines(server)
        tracemalloc.start()
        threads = [threading.Thread(target=lines, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peak_b = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_b < 4 << 20


def test_many_endpoints_with_much_to_keep_are_read_one_after_the_other() -> None:
    body = b"a_total 1\n" * 9_000
    results: list[int] = []
    with RawServer([HEAD, body]) as server:
        threads = [threading.Thread(target=lambda: results.append(len(lines(server)))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [9_000] * 12


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nup 1\n", "response is incomplete"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", "compressed"),
        (HEAD + b"a_total 12", "incomplete response"),
        (HEAD, "got an empty response"),
        (HEAD + b"\n \n", "got an empty response"),
        (HEAD + b"<html><body><h1>Welcome</h1></body></html>", "HTML or JSON"),
        (HEAD + b'\n{"a": 1}\n', "HTML or JSON"),
    ],
)
def test_responses_that_are_no_metrics(answer: bytes, says: str) -> None:
    with RawServer([answer]) as server, pytest.raises(EndpointError, match=says):
        lines(server)


def test_only_http_and_https() -> None:
    for url in ("file:///etc/passwd", "ftp://localhost/", "/metrics", "http:///metrics", ""):
        with pytest.raises(UsageError, match="expected an http:// or https:// URL"):
            fetch(url, NAMES)
