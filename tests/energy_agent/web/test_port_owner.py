"""Who holds a port: a real process that listens, and a /proc that hides it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from energy_agent.web.listening import find_listener

LISTEN = """
import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
input()
"""


def test_the_process_that_listens_is_named() -> None:
    with subprocess.Popen([sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert find_listener("127.0.0.1", port).endswith(f"(pid {other.pid})")
        other.communicate("\n")
    assert find_listener("127.0.0.1", port) == ""


def test_ipv6_listener_is_named_and_client_is_not() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server, socket.socket(socket.AF_INET6) as client:
        client.connect(server.getsockname())
        assert find_listener("::1", server.getsockname()[1]).endswith(f"(pid {os.getpid()})")
        assert find_listener("::1", client.getsockname()[1]) == ""


def test_listener_on_another_address_is_not_named() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
        assert find_listener("127.0.0.1", port) == ""
        assert find_listener("127.0.0.2", port) == find_listener("0.0.0.0", port) != ""


def test_listener_on_every_address_is_named() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert find_listener("127.0.0.1", server.getsockname()[1]).endswith(f"(pid {os.getpid()})")


def test_where_proc_hides_it_there_is_no_guess(tmp_path: Path) -> None:
    assert find_listener("127.0.0.1", 80, tmp_path) == ""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x\nbroken\n"
    )
    (tmp_path / "12").mkdir()
    assert find_listener("127.0.0.1", 80, tmp_path) == ""
    (tmp_path / "12/fd").mkdir()
    (tmp_path / "12/fd/3").symlink_to("socket:[4711]")
    (tmp_path / "12/comm").write_text("a\x1bb\n")
    assert find_listener("127.0.0.1", 80, tmp_path) == "a?b (pid 12)"
