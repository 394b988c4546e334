"""Open a listening socket, or explain in one line why that failed."""

import errno
import glob
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable

_ALL = (IPv4Address("0.0.0.0"), IPv6Address("::"))  # noqa: S104 - compared, not bound
_LISTENS = "0A"  # TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp has it


def find_listener(address: str, port: int, proc: Path = Path("/proc")) -> str:
    """`NAME (pid N)` of the process that listens on TCP `port` of an IP `address`; '' where it is hidden, or nobody does."""
    wanted = {f"socket:[{inode}]" for inode in _listening(ip_address(address), port, proc)}
    if not wanted:
        return ""
    for path in glob.iglob(f"{glob.escape(str(proc))}/[0-9]*/fd/*"):  # noqa: PTH207 - a process may end meanwhile
        with suppress(OSError):  # it has ended, or is another user's
            if os.readlink(path) in wanted:  # noqa: PTH115 - thousands of them
                process = Path(path).parents[1]
                return f"{printable((process / 'comm').read_text(errors='replace').strip())} (pid {process.name})"
    return ""


def _listening(address: IPv4Address | IPv6Address, port: int, proc: Path) -> Iterator[str]:
    """Inodes of the sockets that listen on the port, at the address or at all; the columns are those of proc(5)."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError), (proc / "net" / table).open() as lines:
            for line in lines:
                fields = line.split()
                if len(fields) <= 9 or fields[3] != _LISTENS:
                    continue
                where, _, number = fields[1].partition(":")
                if number == f"{port:04X}" and (address.is_unspecified or _address(where) in (address, *_ALL)):
                    yield fields[9]


def _address(text: str) -> IPv4Address | IPv6Address:
    """Words of 32 bits in the machine's order of bytes."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def listen(address: str, port: int, key: str) -> socket.socket:
    """Listen on an address of this machine; `key` of the configuration stands in messages.

    Raises:
        UsageError: the address cannot be bound: in use, not permitted, or not of this machine.
    """
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {where}: {error.strerror}; set {key} to an address of this machine") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        todo = f"stop the program that uses it, or set {key} to another address and port"
        if error.errno == errno.EADDRINUSE and (who := find_listener(str(target[0]), port)):
            todo = f"{who} uses it; stop that program, or set {key} to another address and port"
        elif error.errno == errno.EADDRNOTAVAIL:
            todo = f"set {key} to an address of this machine, or 0.0.0.0 for all of them"
        elif error.errno == errno.EACCES:
            todo = f"ports below 1024 require root; set {key} to a higher port"
        raise UsageError(f"cannot listen on {where}: {reason}; {todo}") from None
    return listener
