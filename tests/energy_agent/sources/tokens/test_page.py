"""Fetching a page from servers that do not mean well."""

import socket
import threading
import time

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.sources.tokens._page import fetch
from energy_agent.sources.tokens._reading import TokenPageError
from tests.support import free_port

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.fixture
def server():
    """Answers every connection with the given chunks, `pause` seconds apart; returns its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def start(*chunks: bytes, pause: float = 0.0) -> str:
        def answer() -> None:
            while not closing.is_set():
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    try:
                        peer.recv(4096)
                        for chunk in chunks:
                            peer.sendall(chunk)
                            closing.wait(pause)
                    except OSError:
                        continue

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"

    yield start
    closing.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_page(server):
    assert fetch(server(HEAD, b"up 1\n", "näh\n".encode())) == "up 1\nnäh\n"


def test_bytes_that_are_not_utf8_do_not_stop_it(server):
    assert fetch(server(HEAD + b"a\xff\n")) == "a\ufffd\n"


def test_too_large(server):
    with pytest.raises(TokenPageError, match="larger than 1000 bytes"):
        fetch(server(HEAD, b"x" * 5000), limit_b=1000)


def test_a_page_that_drips_is_given_up(server):
    url = server(HEAD, *[b"x"] * 1000, pause=0.05)
    began_s = time.monotonic()
    with pytest.raises(TokenPageError, match=r"longer than 0\.3 s"):
        fetch(url, timeout_s=0.3)
    assert time.monotonic() - began_s < 20  # it would take 50 s


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"SSH-2.0-OpenSSH\r\n", "could not be read"),
        (b"", "could not be read"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nup 1\n", "not complete"),
        (HEAD + b"tokens_total 12", "not complete"),
        (HEAD, "no metrics page .* it is empty"),
        (HEAD + b"\n \n", "no metrics page .* it is empty"),
        (HEAD + b"<html><body><h1>Welcome</h1></body></html>", "no metrics page .* HTML or JSON"),
        (HEAD + b'\n{"a": 1}\n', "no metrics page .* HTML or JSON"),
    ],
)
def test_answers_that_are_no_page(server, answer, says):
    with pytest.raises(TokenPageError, match=says):
        fetch(server(answer))


def test_nobody_there():
    with pytest.raises(TokenPageError, match="refused"):
        fetch(f"http://127.0.0.1:{free_port()}/metrics")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "https://localhost/metrics", "ftp://localhost/", "/metrics", "http:///metrics", ""]
)
def test_only_http(url):
    with pytest.raises(UsageError, match="not an http:// address"):
        fetch(url)
