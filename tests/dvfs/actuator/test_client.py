"""The actuator's client on a socket that answers too late: what may have been done is not requested again."""

import socket
import threading
from pathlib import Path

import pytest

from dvfs.actuator.client import ActuatorClient, ActuatorError
from dvfs.actuator.wire import VERSION, Decoder, encode


def test_a_request_that_timed_out_is_not_sent_again(tmp_path: Path) -> None:
    received: list[str] = []
    connections: list[socket.socket] = []

    def serve() -> None:
        """Answer all but `acquire`."""
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # shut down
                return
            connections.append(connection)
            decoder = Decoder()
            while data := connection.recv(8192):
                for message in decoder.feed(data):
                    received.append(message["op"])
                    if message["op"] != "acquire":
                        connection.sendall(encode({"v": VERSION, "id": message["id"], "ok": True}))

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with ActuatorClient(tmp_path / "s", timeout_s=2.0) as client:
                client.hello()
                with pytest.raises(ActuatorError) as error:
                    client.acquire(["GPU-0"])
            assert error.value.code == "unreachable"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()
    assert received == ["hello", "hello", "acquire"]  # the first one is of the connection
