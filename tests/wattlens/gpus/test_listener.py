"""Finding the processes of a server by the socket that it listens on."""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import eventually, free_port
from wattlens.gpus import listener
from wattlens.gpus.listener import ListenerError, descendants, listening_processes, other_ports, server_processes

LISTEN = """
import socket, subprocess, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
if sys.argv[1] == "::": s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[3]))
s.bind((sys.argv[1], int(sys.argv[2]))); s.listen(); print("ready", flush=True); sys.stdin.read()
"""


@pytest.fixture
def listen():
    with ExitStack() as stack:

        def start(host, port, only6="0", command=()):
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, sys.executable, "-c", LISTEN, host, str(port), only6],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process.pid

        yield start


def test_every_form_of_an_address_leads_to_the_process(listen):
    for bound, hosts in (
        ("127.0.0.1", ("127.0.0.1", "localhost")),
        ("0.0.0.0", ("127.0.0.1", "localhost", "127.0.0.7")),
        ("::1", ("::1",)),
        ("::", ("127.0.0.1", "::1", "localhost")),
    ):
        port = free_port()
        pid = listen(bound, port)
        for host in hosts:
            assert listening_processes(host, port) == {pid}, (bound, host)
        assert server_processes(f"http://{hosts[0] if ':' not in hosts[0] else '[::1]'}:{port}/metrics") == {pid}


@pytest.mark.parametrize(("url", "port"), [("http://h/metrics", 80), ("https://h/metrics", 443), ("https://h:8000/", 8000)])
def test_a_server_without_a_port_listens_at_that_of_its_scheme(monkeypatch, url, port):
    monkeypatch.setattr(listener, "listening_processes", lambda host, at: {(host, at)})
    assert server_processes(url) == {("h", port)}


def test_two_servers_with_one_port_at_different_addresses_are_two(listen):
    port = free_port()
    one, other = listen("127.0.0.1", port), listen("127.0.0.2", port)
    assert (listening_processes("127.0.0.1", port), listening_processes("127.0.0.2", port)) == ({one}, {other})


def test_all_processes_that_hold_the_socket_and_their_children_belong_to_the_server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.set_inheritable(True)
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; sys.stdin.read()'])"
        worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=(server.fileno(),))
        try:
            assert listening_processes("127.0.0.1", server.getsockname()[1]) == {os.getpid(), worker.pid}
            family = eventually(lambda: len(pids := descendants({worker.pid})) == 2 and pids)
            assert worker.pid in family
            assert family < descendants({os.getpid()})
        finally:
            worker.kill()
            worker.communicate()


def test_ports_of_other_processes_of_a_family_are_found_and_those_of_the_server_itself_are_not(listen):
    ports = [free_port() for _ in range(2)]
    pids = [listen("127.0.0.1", port) for port in ports]
    family = {os.getpid(), *pids}
    assert other_ports(family, ports[:1]) == {ports[1]: {pids[1]}}
    assert other_ports(family, ports) == {}
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        own_port, metrics = (each.getsockname()[1] for each in (one, other))
        assert other_ports({os.getpid()}, [own_port]) == {}
        assert other_ports(family, [ports[0]]) == {ports[1]: {pids[1]}, own_port: {os.getpid()}, metrics: {os.getpid()}}


def test_a_server_of_another_network_namespace_cannot_be_found(listen):
    if os.geteuid() or shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("needs root and unshare")
    port = free_port()
    listen("0.0.0.0", port, command=("unshare", "-n"))
    with pytest.raises(ListenerError, match="refused"):  # nobody can reach it from here either, without a proxy
        listening_processes("127.0.0.1", port)


def test_socket_of_an_invisible_process_is_an_error_with_the_reason(listen, tmp_path):
    port = free_port()
    listen("127.0.0.1", port)
    net = tmp_path / "net"
    net.mkdir()
    (net / "tcp").write_bytes(Path("/proc/net/tcp").read_bytes())
    with pytest.raises(ListenerError, match="another user or another pid namespace"):
        listening_processes("127.0.0.1", port, tmp_path)
    for table in (b"", b"head\n", b"head\nnonsense\n", b"head\n 0: zz:yy 0:0 0A\n" * 9, b"\xff\n" * 9):
        (net / "tcp").write_bytes(table)
        with pytest.raises(ListenerError, match="no process in this network namespace"):
            listening_processes("127.0.0.1", port, tmp_path)


def test_an_address_of_another_machine_is_not_looked_for_here(monkeypatch):
    class Connected:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def getsockname(self):
            return ("192.0.2.1", 5)

        def getpeername(self):
            return ("192.0.2.9", 8000)

    monkeypatch.setattr(listener, "connect", lambda *_, **__: Connected())
    with pytest.raises(ListenerError, match="not an address of this machine"):
        listening_processes("far", 8000)
