"""Whatever a stranger sends as a request head, and whatever a web-config file holds: an answer or one clear line."""

import itertools

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.web import web_config
from energy_agent.web.auth import Credentials, Gate
from energy_agent.web.http1 import BadRequestError, Reader, Request, parse

law = settings(deadline=None, max_examples=250)
PIECES = [
    b"GET", b"HEAD", b"POST", b" ", b"/", b"/metrics", b"?a=b", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"\r\n", b"\r", b"\n",
    b"\0", b":", b"Host: x", b"Connection: close", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Accept", b"\xff",
    b"\t", b",", b"a" * 300, b"PRI * HTTP/2.0", b"\x16\x03\x01",
]  # fmt: skip
HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
HASH = "$2y$04$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
KEYS = [
    "tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "cert", "key", "cert_file", "key_file",
    "client_auth_type", "client_ca_file", "client_allowed_sans", "min_version", "max_version", "cipher_suites",
    "curve_preferences", "prefer_server_cipher_suites", "http2", "headers", "interval", "burst", "X-Frame-Options",
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


class Wire:
    """What a client sends, in the pieces that the network makes of it; then it is gone."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [p for p in pieces if p]

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def recv(self, size: int) -> bytes:
        if not self._pieces:
            return b""
        piece, self._pieces[0] = self._pieces[0][:size], self._pieces[0][size:]
        if not self._pieces[0]:
            del self._pieces[0]
        return piece


def status_of(bad: BadRequestError) -> int:
    assert bad.status in (400, 408, 414, 431, 505)
    assert "\n" not in str(bad)
    return bad.status


def requests(pieces: list[bytes]) -> list[tuple[object, ...]]:
    """All requests of a connection, and the status that ended it."""
    reader, found = Reader(Wire(pieces)), []  # type: ignore[arg-type]
    while True:
        try:
            request = reader.request(1.0, 1.0)
        except BadRequestError as bad:
            return [*found, (status_of(bad),)]
        if request is None:
            return found
        found.append((request.method, request.path, tuple(request.headers.items()), request.close))
        if request.close:
            return found


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted({min(a, len(data)) for a in at}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@law
@given(st.binary(max_size=400) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_any_head_is_a_request_or_a_status(head: bytes) -> None:
    try:
        request = parse(head)
    except BadRequestError as bad:
        status_of(bad)
        return
    assert isinstance(request, Request)
    assert request.path.startswith("/")
    assert not any(c in name + value for name, value in request.headers.items() for c in "\r\n\0")


@law
@given(
    st.lists(st.sampled_from([HEAD + b"\r\n", HEAD + b"A: b\r\n\r\n", b"\r\n\r\n", *PIECES]), max_size=12).map(b"".join),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_how_the_network_cuts_a_stream_changes_nothing(stream: bytes, at: list[int]) -> None:
    assert requests(cut(stream, at)) == requests([stream])


@law
@given(st.integers(0, 60_000), st.integers(0, 3000), st.booleans())
def test_no_head_grows_without_bound(size: int, lines: int, ended: bool) -> None:
    head = HEAD + b"a: b\r\n" * lines + b"X: " + b"y" * size + (b"\r\n\r\n" if ended else b"")
    (outcome,) = requests([head])[:1]
    if len(head) > 16_384 + 4:
        assert outcome in ((414,), (431,))
    elif ended:
        assert outcome[:2] == ("GET", "/metrics")
    else:
        assert outcome == (408,)


@law
@given(st.text(st.characters(max_codepoint=255), max_size=60) | st.text(max_size=30).map(lambda t: f"Basic {t}"))
def test_any_authorization_is_a_verdict(said: str) -> None:
    verdict = Gate().judge(Credentials({"a": HASH}, "0123456789abcdef"), said, "x")
    assert verdict.status in (401, 429)


def read(raw: bytes) -> None:
    try:
        assert isinstance(web_config.parse(raw, "file"), web_config.WebConfig)
        return
    except UsageError as error:
        line = str(error)
    assert "\n" not in line
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
