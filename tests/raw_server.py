"""A server that answers every connection with given bytes, well-formed or not, as fast or slow as a test needs."""

import socket
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress
from itertools import repeat
from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\n"


class RawServer:
    """`with RawServer(parts) as server:`; each connection gets the parts in order, `pause_s` after each, and is closed."""

    def __init__(
        self,
        parts: Iterable[bytes] = (),
        *,
        pause_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
        path: Path | None = None,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> None:
        self.parts, self.pause_s, self._tls, self.requests = parts, pause_s, tls, []
        if path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
        else:
            self._listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        self.port = 0 if path is not None else self._listener.getsockname()[1]
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http{'s' * (self._tls is not None)}://127.0.0.1:{self.port}"

    def __enter__(self) -> "RawServer":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with suppress(OSError), peer:
            if self._tls is not None:
                peer = self._tls.wrap_socket(peer, server_side=True)
            with peer:
                self.requests.append(peer.recv(65536))
                for part in self.parts:
                    peer.sendall(part)
                    if self.pause_s and self._closing.wait(self.pause_s):
                        return


def forever(part: bytes) -> Iterable[bytes]:
    """The same bytes without end."""
    return repeat(part)
