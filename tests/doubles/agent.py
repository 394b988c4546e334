"""An agent that is played: real HTTP on a real unix socket, and a board whose limit, power and energy follow a script."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

TICK_S = 0.005


class Agent:
    """One GPU at 700 W; a request is applied `delay_s` later if mode and allow-list permit it."""

    def __init__(self, path: Path, uuid: str = "GPU-0") -> None:
        self.path, self.uuid, self.node = path, uuid, "n1"
        self.mode, self.policy, self.reason = "enforce", "asked", ""
        self.found_w, self.range_w, self.allow_w = 700.0, (200.0, 700.0), (0.0, 10_000.0)
        self.refuses = False
        self.cap_w = 10_000.0
        self.delay_s = 0.0
        self.more: dict[str, Any] = {}  # in the answers of /v1/dvfs
        self.clock_mhz: int | None = None  # that its own policy has set
        self.answer_with: tuple[int, bytes] | None = None  # to everything
        self.posts: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.asked: dict[str, Any] = {}
        self.until_s = 0.0
        self.in_force_w: float | None = None
        self.wanted_w: float | None = None
        self.limits: list[float] = []  # the applied limits, in order
        self._pending: list[tuple[float, float | None]] = []
        self._energy: list[tuple[int, float]] = [(time.time_ns(), 0.0)]
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @property
    def limit_w(self) -> float:
        """Of the board now."""
        return self.found_w if self.in_force_w is None else self.in_force_w

    def power_w(self, limit_w: float) -> float:
        """What the job draws at a limit."""
        return 0.9 * limit_w

    def step_s(self, base_s: float = 0.004) -> float:
        """How long a step takes at the limit of now."""
        return base_s * (700 / self.limit_w) ** 0.5

    def play(self) -> None:
        """Let the board run."""
        while not self._ended.wait(TICK_S):
            with self._lock:
                self._turn()

    def _turn(self) -> None:
        now_s = time.monotonic()
        t_ns, joules = self._energy[-1]
        new_ns = time.time_ns()
        self._energy.append((new_ns, joules + self.power_w(self.limit_w) * (new_ns - t_ns) / 1e9))
        if self.asked and now_s > self.until_s:
            self.asked = {}
            self._pending.append((now_s, None))
        while self._pending and self._pending[0][0] <= now_s:
            _, wanted = self._pending.pop(0)
            self.wanted_w = None if wanted is None else min(wanted, self.cap_w)
            steered = self.mode == "enforce" and "asked" in self.policy and not self.reason
            works = self.wanted_w is not None and steered and not self.refuses
            self.in_force_w = min(max(self.wanted_w, self.allow_w[0]), self.allow_w[1]) if works else None
            if self.in_force_w is not None and self.limits[-1:] != [self.in_force_w]:
                self.limits.append(self.in_force_w)

    def drop(self) -> None:
        """Release the limit, as on high temperature, until the next request."""
        with self._lock:
            self.in_force_w = self.wanted_w = None

    def joules(self, start_ns: int, end_ns: int) -> float | None:
        """Of a window; None as long as its end has not been read."""
        with self._lock:
            rows = list(self._energy)
        if rows[-1][0] < end_ns:
            return None

        def at(t_ns: int) -> float:
            (t0, j0), (t1, j1) = next((a, b) for a, b in pairwise(rows) if b[0] >= t_ns)
            return j0 + (j1 - j0) * (t_ns - t0) / (t1 - t0)

        return at(end_ns) - at(start_ns)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.paths.append(f"{method} {path}")
        if self.answer_with is not None:
            return self.answer_with
        status, reply = self._answer(method, path, json.loads(body) if body else {})
        return status, json.dumps(reply).encode()

    def _answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/me":
            limits = {"power_limit_w": self.limit_w, "power_limit_range_w": list(self.range_w)}
            return 200, {"workload": "w", "node": self.node, "devices": [{"uuid": self.uuid, "held": True, **limits}]}
        if path == "/v1/training":
            self.reports.append(body)
            return 202, {"workload": "w", "node": self.node}
        if path.startswith("/v1/window/"):
            start, end = map(int, path.split("/")[3:])
            joules = self.joules(start, end)
            if joules is None:
                return 503, {"later": True, "reason": "later"}
            return 200, {"devices": {self.uuid: {"joules": joules, "half_j": 1.0}}}
        if method == "POST":
            with self._lock:
                self.posts.append(body)
                self.asked, before = dict(body), self.asked
                self.until_s = time.monotonic() + body["ttl_s"]
                if self.asked.get("power_limit_w") != before.get("power_limit_w"):
                    self._pending.append((time.monotonic() + self.delay_s, self.asked.get("power_limit_w")))
        return (202 if method == "POST" else 200), self._status()

    def _status(self) -> dict[str, Any]:
        with self._lock:
            if self.reason:
                return {"workload": "w", "reason": self.reason}
            reply = {"workload": "w", "mode": self.mode, "group": "w", "policy": self.policy}
            setting, wanted = ({} if w is None else {"power_limit_w": w} for w in (self.in_force_w, self.wanted_w))
            clock = self.clock_mhz or self.asked.get("sm_clock_max_mhz")
            if clock and self.mode == "enforce":
                setting |= {"sm_clock_max_mhz": clock}
            reply["devices"] = [{"uuid": self.uuid, "setting": setting, "wanted": wanted}]
            reply |= {"asked": {}} if self.asked else {}
            return reply | self.more


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def serving(agent: Agent) -> Iterator[Agent]:
    """The agent, on its socket."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, payload = agent.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = _serve  # noqa: N815

        def address_string(self) -> str:
            return "client"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    agent.path.unlink(missing_ok=True)
    server = _Server(str(agent.path), Handler)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)), threading.Thread(target=agent.play)]
    for thread in threads:
        thread.start()
    try:
        yield agent
    finally:
        agent._ended.set()
        server.shutdown()
        server.server_close()
        agent.path.unlink(missing_ok=True)
        for thread in threads:
            thread.join()
