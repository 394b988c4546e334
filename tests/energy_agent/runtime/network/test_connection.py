"""Connections within a deadline: lookups that hang are bounded, and dead addresses delay nobody."""

import socket
import threading
import time

import pytest

from energy_agent.runtime.network.connection import ConnectError, DeadlineError, Resolver, connect
from tests.support import eventually, free_port


def soon() -> float:
    return time.monotonic() + 0.1


def addresses(*hosts: str, port: int):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


def test_lookups_that_hang_are_shared_bounded_and_go() -> None:
    gate, asked = threading.Event(), []

    def hang(host, port, **_):
        asked.append(host)
        gate.wait(300)
        return addresses("127.0.0.1", port=port)

    resolver = Resolver(hang, limit=2)
    for _ in range(3):
        with pytest.raises(DeadlineError):
            resolver.resolve("a.example", 80, soon())
    eventually(lambda: asked == ["a.example"])  # the thread may begin after the wait for it
    assert resolver.pending == 1
    with pytest.raises(DeadlineError):
        resolver.resolve("b.example", 80, soon())
    with pytest.raises(ConnectError):  # at once, and without another thread
        resolver.resolve("c.example", 80, time.monotonic() + 60)
    assert resolver.resolve("127.0.0.1", 80, soon())[0][4] == ("127.0.0.1", 80), "an address needs no lookup"
    gate.set()
    eventually(lambda: resolver.pending == 0)
    assert resolver.resolve("c.example", 80, time.monotonic() + 60)[0][4] == ("127.0.0.1", 80)


def test_names_without_an_address() -> None:
    def unknown(host, port, **_):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ConnectError, match="name or service not known"):
        Resolver(unknown).resolve("a.example", 80, soon() + 60)
    for name in ("a..b", "x" * 64, "é" * 64, "a\0b"):
        with pytest.raises(ConnectError):
            Resolver().resolve(name, 80, soon() + 60)


def test_all_addresses_of_a_name_share_the_deadline() -> None:
    """Addresses that drop packets come first: a listener whose queue is full answers no one."""
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0)) as alive:
        full.bind(("127.0.0.2", alive.getsockname()[1]))
        full.listen(0)
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        port = alive.getsockname()[1]
        resolver = Resolver(lambda *_, **__: addresses(*["127.0.0.2"] * 5, "127.0.0.1", port=port))
        with connect("many.example", port, time.monotonic() + 20, resolver) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)
        dead = Resolver(lambda *_, **__: addresses(*["127.0.0.2"] * 5, port=port))
        with pytest.raises(DeadlineError):
            connect("dead.example", port, soon(), dead)
        for client in clients:
            client.close()


def test_refused_addresses_give_their_reason_at_once() -> None:
    port = free_port()
    resolver = Resolver(lambda *_, **__: addresses("127.0.0.1", "127.0.0.2", port=port))
    with pytest.raises(ConnectError, match="connection refused"):
        connect("closed.example", port, time.monotonic() + 60, resolver)
    with pytest.raises(ConnectError):
        connect("none.example", port, time.monotonic() + 60, Resolver(lambda *_, **__: []))
