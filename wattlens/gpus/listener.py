"""The processes of a server: those that listen at an address, by the kernel's table of sockets, and their descendants.

Only processes of this network and pid namespace can be found, and of other users only by root. `/proc` is an injected root.
"""

import os
import struct
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import SplitResult

from energy_agent.core.address import parse_address
from energy_agent.core.errors import WattlensError
from energy_agent.core.text import quoted_address
from energy_agent.runtime.network.connection import ConnectError, DeadlineError, connect

_LISTEN = "0A"
_TABLE_LIMIT_B = 16 << 20
_CONNECT_S = 2.0
_PROCESSES_LIMIT = 1 << 17


class ListenerError(WattlensError):
    """The processes of a server cannot be found; the text has the reason."""


def server_processes(url: str) -> set[int]:
    """Pids of the processes that listen at the host and port of `url`; raises as `listening_processes` does."""
    return listening_processes(_parse(url).hostname or "", port_of(url))


def port_of(url: str) -> int:
    """The port of a URL, or that of its scheme.

    Raises:
        ListenerError: the URL is not valid.
    """
    parts = _parse(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _parse(url: str) -> SplitResult:
    try:
        return parse_address(url, allow_query=True)
    except ValueError as error:
        raise ListenerError(f"{error}, got {quoted_address(url)}") from None


def listening_processes(host: str, port: int, procfs: Path = Path("/proc")) -> set[int]:
    """Pids of the processes that hold the socket which listens at `host` and `port`.

    Raises:
        ListenerError: none can be found: the server is on another machine or in another namespace, or belongs to another user.
    """
    address = _own_address(host, port)
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(procfs / "net" / table, address, port)}
    if not inodes:
        raise ListenerError(
            f"no process in this network namespace listens on {host}:{port}: the server runs in another one, such as a "
            "container's"
        )
    targets = {f"socket:[{inode}]" for inode in inodes}
    pids = {pid for pid in _pids(procfs) if targets & set(_open_files(procfs, pid))}
    if not pids:
        raise ListenerError(
            f"the process that listens on {host}:{port} is not visible: it belongs to another user or another pid namespace"
        )
    return pids


def descendants(roots: Collection[int], procfs: Path = Path("/proc")) -> set[int]:
    """These processes and all that they started, as far as the parents of those are still there."""
    children: dict[int, list[int]] = {}
    for pid in _pids(procfs):
        with suppress(OSError, ValueError, IndexError):
            parent = int((procfs / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(pid)
    family: set[int] = set()
    pending = list(roots)
    while pending:
        pid = pending.pop()
        if pid not in family:
            family.add(pid)
            pending += children.get(pid, ())
    return family


def other_ports(family: Collection[int], served: Collection[int], procfs: Path = Path("/proc")) -> dict[int, set[int]]:
    """Ports at which processes of a family listen in addition to the served ones, with the pids that hold their sockets.

    A port that one process holds together with a served port belongs to the same server, such as a port for its metrics.
    """
    ports = {inode: port for table in ("tcp", "tcp6") for inode, _, port in _listeners(procfs / "net" / table)}
    holders: dict[int, set[int]] = {}
    for pid in family:
        for target in _open_files(procfs, pid):
            port = ports.get(target.removeprefix("socket:[").removesuffix("]"))
            if port is not None:
                holders.setdefault(port, set()).add(pid)
    server_pids = [holders[port] for port in served if len(holders.get(port, ())) == 1]
    return {port: pids for port, pids in holders.items() if port not in served and pids not in server_pids}


def _own_address(host: str, port: int) -> IPv4Address | IPv6Address:
    """The address of this machine at which `host` is reached."""
    try:
        with connect(host, port, time.monotonic() + _CONNECT_S) as connected:
            local_address, peer = connected.getsockname()[0], connected.getpeername()[0]
    except (ConnectError, DeadlineError, OSError) as error:
        raise ListenerError(f"{host}:{port}: {getattr(error, 'strerror', None) or error}") from None
    address, source = _plain(ip_address(peer.partition("%")[0])), _plain(ip_address(local_address.partition("%")[0]))
    if address != source and not (address.is_loopback and source.is_loopback):
        raise ListenerError(f"{host} ({address}) is not an address of this machine or of its network namespace")
    return address


def _listening(table: Path, address: IPv4Address | IPv6Address, port: int) -> Iterator[str]:
    """Inodes of the listening sockets of a table such as /proc/net/tcp that take connections to an address."""
    for inode, listens, at in _listeners(table):
        both = listens.is_unspecified and listens.version == 6
        if at == port and (listens == address or (listens.is_unspecified and (both or listens.version == address.version))):
            yield inode


def _listeners(table: Path) -> Iterator[tuple[str, IPv4Address | IPv6Address, int]]:
    """Inode, address and port of each listening socket of a table."""
    try:
        with table.open("rb") as file:
            lines = file.read(_TABLE_LIMIT_B).decode(errors="replace").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        with suppress(ValueError, IndexError, struct.error):
            local, _, at = fields[1].partition(":")
            if fields[3] == _LISTEN:
                yield fields[9], _plain(_address(local)), int(at, 16)


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address of /proc/net/tcp: words of 32 bits in the machine's own byte order."""
    words = bytes.fromhex(text)
    if sys.byteorder == "little":
        words = struct.pack(f">{len(words) // 4}I", *struct.unpack(f"<{len(words) // 4}I", words))
    return ip_address(words)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return getattr(address, "ipv4_mapped", None) or address


def _pids(procfs: Path) -> list[int]:
    try:
        names = os.listdir(procfs)  # noqa: PTH208 - names alone
    except OSError:
        return []
    return [int(name) for name in names if name.isdecimal()][:_PROCESSES_LIMIT]


def _open_files(procfs: Path, pid: int) -> Iterator[str]:
    folder = procfs / str(pid) / "fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone
    except OSError:
        return
    for name in names:
        with suppress(OSError):
            yield os.readlink(folder / name)  # noqa: PTH115 - no Path: thousands of them
