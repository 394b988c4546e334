"""Inference servers whose metrics endpoints are hostile, one process each; and one that is honest.

A process of this module serves one of BEHAVIOURS until its standard input ends, as it does when its starter ends.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import Any

from benchmarks.running import Series

PERIOD_S = 0.5
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_SIZE_B = 3_500_000
_BEGAN_S = time.monotonic()


class MetricsServer:
    """A server process, started at once."""

    def __init__(self, behaviour: str) -> None:
        command = [sys.executable, "-m", "benchmarks.hostile.metrics_servers", behaviour]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.workload = behaviour
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/metrics"

    @property
    def source(self) -> dict[str, Any]:
        """Its entry in the agent's configuration."""
        return {"workload": self.workload, "url": self.url, "period_s": PERIOD_S}

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Endpoints:
    """The servers of one attack, between the agent's configuration and the end of the attack."""

    def __init__(self, *behaviours: str) -> None:
        self._behaviours, self._servers = behaviours, list[MetricsServer]()

    def configuration(self, _folder: object) -> dict[str, Any]:
        """Start the servers; the agent's configuration with their endpoints."""
        self._servers = [MetricsServer(each) for each in self._behaviours]
        return {"tokens": [server.source for server in self._servers]}

    @contextmanager
    def running(self) -> Iterator[None]:
        """End the servers at the end."""
        try:
            yield
        finally:
            for server in self._servers:
                server.end()


def value(page: Series, name: str, **labels: str) -> float | None:
    """The sum of the samples with these labels; None without any."""
    values = [each for (key, of), each in page.items() if key == name and labels.items() <= dict(of).items()]
    return sum(values) if values else None


def reason(page: Series, workload: str) -> str:
    """Why a workload's endpoint is down; "" while it is up."""
    for key, labels in page:
        if key == "wattlens_source_down_info" and dict(labels)["source"] == f"tokens:{workload}":
            return dict(labels)["reason"]
    return ""


def _counters(tokens: int, running: int = 7) -> bytes:
    labels = '{model_name="m",engine="0"}'
    return (
        f"vllm:generation_tokens_total{labels} {tokens}\nvllm:prompt_tokens_total{labels} {tokens}\n"
        f"vllm:num_requests_running{labels} {running}\n"
    ).encode()


def honest(_request: int) -> Iterable[bytes]:
    """A hundred tokens per second."""
    return [_HEAD, _counters(int((time.monotonic() - _BEGAN_S) * 100))]


def large(_request: int) -> Iterable[bytes]:
    """3.5 MB of valid lines that are all needed."""
    line = 'vllm:generation_tokens_total{model_name="m%d",engine="%d"} 1\n'
    text = "".join(line % (n % 64, n) for n in range(_SIZE_B // len(line)))
    return [_HEAD, text.encode()]


def unwanted(_request: int) -> Iterable[bytes]:
    """3.5 MB of which only three lines are needed."""
    return [_HEAD, b"a 1\n" * (_SIZE_B // 4 - 100), _counters(5)]


def chunks(_request: int) -> Iterable[bytes]:
    """4.2 MB in chunks of one byte."""
    return [_CHUNKED, *[b"1\r\n\n\r\n" * 10_000] * 420]


def churn(request: int) -> Iterable[bytes]:
    """New engines with the largest histograms each time."""
    edges = [*map(str, range(1, 120)), "+Inf"]
    name = "vllm:time_to_first_token_seconds"
    lines = [f'{name}_bucket{{model_name="m",engine="{request}-{n}",le="{edge}"}} 1\n' for n in range(60) for edge in edges] + [
        f'{name}_sum{{model_name="m",engine="{request}-{n}"}} 1\n' for n in range(60)
    ]
    return [_HEAD, "".join(lines).encode()]


def drip_head(request: int) -> Iterable[bytes]:
    """A fast response twice, then a head that never ends, now and then a fast one again."""
    return honest(request) if request < 3 or request % 100 == 0 else [_HEAD[:17], b"X: ", *repeat(b"y", 1000)]


def drip_body(request: int) -> Iterable[bytes]:
    """As `drip_head`, with a body that never ends."""
    return honest(request) if request < 3 or request % 100 == 0 else [_HEAD, *repeat(b"#", 1000)]


def hang(request: int) -> Iterable[bytes]:
    """Two fast responses, then no response."""
    return honest(request) if request < 3 else repeat(b"", 1000)


def slow(request: int) -> Iterable[bytes]:
    """A fast response, then one that takes a second, by turns."""
    return honest(request) if request % 2 else [*repeat(b"", 10), *honest(request)]


def jump(request: int) -> Iterable[bytes]:
    """9e15 tokens between two readings."""
    return [_HEAD, _counters(5 if request < 3 else 2**53)]


def reset(request: int) -> Iterable[bytes]:
    """A restart between any two readings, with 9e15 tokens after each."""
    return [_HEAD, _counters((2**53, 5)[request % 2])]


def engines(request: int) -> Iterable[bytes]:
    """New engines with the maximum tokens per engine, 250 per response."""
    line = 'vllm:generation_tokens_total{model_name="m",engine="%d-%d"} 9000000\n'
    return [_HEAD, *[(line % (request, n)).encode() for n in range(250)]]


BEHAVIOURS: dict[str, Callable[[int], Iterable[bytes]]] = {
    each.__name__: each
    for each in (honest, large, unwanted, chunks, churn, drip_head, drip_body, hang, slow, jump, reset, engines)
}


def serve(behaviour: Callable[[int], Iterable[bytes]]) -> None:
    """Print the port, then answer until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    # On a machine with few cores: judge the agent, not the scheduler.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    threading.Thread(target=_accept, args=(listener, behaviour), daemon=True).start()
    sys.stdin.read()


def _accept(listener: socket.socket, behaviour: Callable[[int], Iterable[bytes]]) -> None:
    request = 0
    while True:
        peer, _ = listener.accept()
        request += 1
        threading.Thread(target=_answer, args=(peer, behaviour(request)), daemon=True).start()


def _answer(peer: socket.socket, parts: Iterable[bytes]) -> None:
    with suppress(OSError), peer:
        peer.recv(65_536)
        for part in parts:
            peer.sendall(part)
            if len(part) < 2:  # drips
                time.sleep(0.1)


if __name__ == "__main__":
    serve(BEHAVIOURS[sys.argv[1]])
