"""Hostile web clients, one kind at a time, each in its own process.

All come from 127.0.0.2, as one host would, at the lowest priority: another host would not take the agent's cores. Each function
runs in some threads until it is stopped, and counts attempts.
"""

import base64
import itertools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

SOURCE = ("127.0.0.2", 0)
TCP_REPAIR = 19  # a socket closed under it sends nothing: the peer never learns of its end


@dataclass
class AttackedServer:
    """Address of the server under attack."""

    port: int
    secure: bool
    right: str  # the Authorization header of a greedy client that may come in
    stopping: threading.Event = field(default_factory=threading.Event)
    attempts: "itertools.count[int]" = field(default_factory=itertools.count)

    def connect(self) -> socket.socket:
        """A TCP connection."""
        next(self.attempts)
        return socket.create_connection(("127.0.0.1", self.port), 2, SOURCE)

    def session(self) -> socket.socket:
        """A connection that is ready for HTTP."""
        client = self.connect()
        if not self.secure:
            return client
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(client)

    def request(self, authorization: str = "") -> bytes:
        """A whole request."""
        line = f"Authorization: {authorization}\r\n" if authorization else ""
        return f"GET /metrics HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode()


def slow_loris(target: AttackedServer) -> None:
    """Ten connections each send a byte of a head that never ends, ten times a second."""
    connections: list[socket.socket] = []
    while not target.stopping.is_set():
        with suppress(OSError):
            while len(connections) < 10:
                connections.append(target.session())
                connections[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for client in list(connections):
            try:
                client.sendall(b"a")
            except OSError:
                connections.remove(client)
                client.close()
        time.sleep(0.1)


def silent(target: AttackedServer) -> None:
    """Ten connections send nothing, not even a handshake, and reconnect when they are closed."""
    connections: list[socket.socket] = []
    while not target.stopping.is_set():
        with suppress(OSError):
            while len(connections) < 10:
                connections.append(target.connect())
        for client in list(connections):
            client.settimeout(0.01)
            try:
                if client.recv(100):
                    continue
            except TimeoutError:
                continue
            except OSError:
                pass
            connections.remove(client)
            client.close()


def half_open(target: AttackedServer) -> None:
    """Half of a request, then the host disappears without closing the connection."""
    while not target.stopping.is_set():
        with suppress(OSError):
            client = target.connect()
            client.sendall(b"GET /metrics HT")
            with suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            client.close()
        time.sleep(0.02)


def huge_headers(target: AttackedServer) -> None:
    """Heads of 100 kB, without a pause."""
    while not target.stopping.is_set():
        with suppress(OSError), target.session() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X-Big: " + b"a" * 100_000 + b"\r\n\r\n")
            client.recv(1000)


def wrong_credentials(target: AttackedServer) -> None:
    """Guesses a new password each time, on kept connections where it is let, without a pause."""
    for k in itertools.count():
        with suppress(OSError), target.session() as client:
            while not target.stopping.is_set():
                guess = base64.b64encode(f"prometheus:{threading.get_ident()}-{k}".encode()).decode()
                client.sendall(target.request(f"Basic {guess}"))
                next(target.attempts)
                if not client.recv(1000):
                    break
        if target.stopping.is_set():
            return


def connection_flood(target: AttackedServer) -> None:
    """Connects and goes, without a pause."""
    while not target.stopping.is_set():
        with suppress(OSError):
            target.connect().close()


def pipelining(target: AttackedServer) -> None:
    """A hundred requests at once, with the right password, all answers read, without a pause."""
    while not target.stopping.is_set():
        with suppress(OSError), target.session() as client:
            client.sendall(target.request(target.right) * 100)
            while client.recv(1 << 20) and not target.stopping.is_set():
                next(target.attempts)


def never_reading(target: AttackedServer) -> None:
    """Send a hundred requests with the right password, and read nothing."""
    connections: list[socket.socket] = []
    while not target.stopping.is_set():
        with suppress(OSError):
            client = target.session()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(0.2)
            connections.append(client)
            client.sendall(target.request(target.right) * 100)
        if len(connections) >= 10:
            connections.pop(0).close()
        time.sleep(0.05)


def garbage(target: AttackedServer) -> None:
    """Bytes that are neither HTTP nor TLS."""
    while not target.stopping.is_set():
        with suppress(OSError), target.connect() as client:
            client.sendall(bytes(range(256)) * 40)
            client.recv(1000)


KINDS: dict[str, tuple[Callable[[AttackedServer], None], int]] = {
    "nobody": (lambda target: None, 0),
    "slow_loris": (slow_loris, 10),
    "silent": (silent, 10),
    "half_open": (half_open, 8),
    "huge_headers": (huge_headers, 8),
    "wrong_credentials": (wrong_credentials, 16),
    "connection_flood": (connection_flood, 4),
    "pipelining": (pipelining, 8),
    "never_reading": (never_reading, 8),
    "garbage": (garbage, 8),
}
"""Each kind and its threads."""


def main(report: Connection, kind: str, port: int, secure: bool, right: str) -> None:
    """Run one kind until the parent sends a message, then send the number of attempts."""
    os.nice(19)
    target = AttackedServer(port, secure, right)
    work, count = KINDS[kind]
    for _ in range(count):
        threading.Thread(target=work, args=(target,), daemon=True).start()
    report.send("running")
    report.recv()
    target.stopping.set()
    report.send(next(target.attempts))
