"""Whatever a stranger sends to the server, and whatever a web-config file holds: a response or one clear line."""

import itertools
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.config.messages import LINES_MAX
from energy_agent.core.errors import UsageError
from energy_agent.web import web_config
from energy_agent.web.auth import Credentials, Gate
from energy_agent.web.http1 import Exchange, ServerResponse, plain
from tests.support import examples

law = settings(deadline=None, max_examples=examples(250))
PIECES = [
    b"GET", b"HEAD", b"POST", b" ", b"/", b"/metrics", b"?a=b", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"\r\n", b"\r", b"\n",
    b"\0", b":", b"Host: x", b"Connection: close", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Accept", b"\xff",
    b"\t", b",", b"a" * 300, b"PRI * HTTP/2.0", b"\x16\x03\x01", b"Expect: 100-continue", b"__class__",
]  # fmt: skip
HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
HASH = "$2y$04$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
KEYS = [
    "tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "cert", "cert_file", "key_file",
    "client_auth_type", "client_ca_file", "client_allowed_sans", "min_version", "max_version", "cipher_suites",
    "curve_preferences", "prefer_server_cipher_suites", "http2", "headers", "X-Frame-Options",
]  # fmt: skip
VALUES = [HASH, "TLS12", "TLS13", "RequireAndVerifyClientCert", "a.pem", "1s", "deny", "", "a\0b", "\ud800"]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(VALUES) | st.dates()
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8) | st.integers(), inner, max_size=5)
    ),
    max_leaves=20,
)
streams = st.binary(max_size=400) | st.lists(
    st.sampled_from([HEAD + b"\r\n", HEAD + b"A: b\r\n\r\n", b"\r\n\r\n", *PIECES]), max_size=30
).map(b"".join)


def statuses(pieces: list[bytes]) -> list[int]:
    """Statuses of all responses on a connection whose client sends this, with pauses where the network cuts it, and goes."""
    served: list[str] = []

    def answer(exchange: Exchange) -> ServerResponse:
        served.append(exchange.path)
        return plain(200, "ok")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=_serve, args=(ours, answer))
        thread.start()
        received = b""
        with suppress(OSError):  # it is sent away before its end
            for piece in pieces:
                theirs.sendall(piece)
            theirs.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while chunk := theirs.recv(65536):
                received += chunk
        thread.join(60)
        assert not thread.is_alive()
    codes = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) [A-Z][-A-Za-z ]*\r\n", received)]
    assert codes.count(200) == len(served)
    assert set(codes) <= {200, 400, 414, 431, 501, 505}
    assert all(status == 200 for status in codes[:-1])  # what is no request ends the connection
    return codes


def _serve(end: socket.socket, answer: Callable[[Exchange], ServerResponse]) -> None:
    with end, suppress(OSError):
        Exchange(end, answer, 60.0, 60.0)


@law
@given(streams, st.lists(st.integers(0, 2000), max_size=12))
def test_how_the_network_cuts_a_stream_changes_nothing(stream: bytes, at: list[int]) -> None:
    edges = [0, *sorted({min(a, len(stream)) for a in at}), len(stream)]
    assert statuses([stream[a:b] for a, b in itertools.pairwise(edges)]) == statuses([stream])


@law
@given(st.integers(0, 60_000), st.integers(0, 3000), st.booleans())
def test_no_head_grows_without_bound(size: int, lines: int, ended: bool) -> None:
    head = HEAD + b"a: b\r\n" * lines + b"X: " + b"y" * size + (b"\r\n\r\n" if ended else b"")
    if len(head) > 16_384 + 8_192 or lines > 100:
        assert statuses([head]) in ([414], [431])
    elif len(head) < 16_384 and lines < 98:
        assert statuses([head]) == [200]


@law
@given(st.text(st.characters(max_codepoint=255), max_size=60) | st.text(max_size=30).map(lambda t: f"Basic {t}"))
def test_any_authorization_is_judged(authorization: str) -> None:
    refusal = Gate().refusal(Credentials({"a": HASH}, "0123456789abcdef"), authorization, "x")
    assert refusal is not None
    assert refusal.status in (401, 429)


def read(raw: bytes) -> None:
    try:
        assert isinstance(web_config.parse(raw, "file"), web_config.WebConfig)
        return
    except UsageError as error:
        lines = str(error).split("\n")
    assert len(lines) <= LINES_MAX + 1
    for line in lines:
        assert line.startswith("file")
        assert len(line) < 2_000
        assert HASH not in line


@law
@given(st.binary(max_size=200))
def test_any_bytes_as_a_web_config(raw: bytes) -> None:
    read(raw)


@pytest.mark.smoke
@law
@given(trees)
def test_any_tree_as_a_web_config(tree: object) -> None:
    read(yaml.safe_dump(tree).encode("utf-8", "surrogatepass"))
