"""A listening socket, or one clear line why there is none."""

import errno
import socket

from energy_agent.core.errors import UsageError
from energy_agent.web.port_owner import holder


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
        todo = f"stop the program that holds it or set {key} to another address and port"
        if error.errno == errno.EADDRINUSE and (who := holder(port)):
            todo = f"{who} listens there; stop it or set {key} to another address and port"
        elif error.errno == errno.EADDRNOTAVAIL:
            todo = f"set {key} to an address of this machine, or 0.0.0.0 for all of them"
        elif error.errno == errno.EACCES:
            todo = f"ports below 1024 are root's; set {key} to a higher one"
        raise UsageError(f"cannot listen on {where}: {reason}; {todo}") from None
    return listener
