"""The servers of the fleet benchmarks: Debian's Prometheus and VictoriaMetrics, on loopback, with separate folders."""

import http.client
import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from benchmarks.running import Series, cpu_s, series

Reply = tuple[int, bytes, float]
ROOT = Path(__file__).parents[1]
RULES = ("wattlens-rules.yml", "wattlens-alerts.yml")
EXTERNAL = {"cluster": "fleet", "replica": "a"}
"""External labels of Prometheus, which distinguish replicas and clusters."""
SCRAPE_S = 30.0
GOGC = 200
"""Of Prometheus, which shares its cores with its own collector: by its default of 75 that runs nearly three times as often."""
MEMORY_LIMIT_B = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
"""Of each server's Go heap: near it a server does little but collect, so it is far above what a fleet of 1,000 nodes takes."""


class ServerProcess:
    """A server as a process."""

    def __init__(self, command: Sequence[str], folder: Path, port: int, ready: str) -> None:
        self.folder, self.port, self._ready = folder, port, ready
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("ab") as log:
            environ = {**os.environ, "GOMEMLIMIT": str(MEMORY_LIMIT_B)}
            self.process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until it responds.

        Raises:
            RuntimeError: it exited or did not respond in time.
        """
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args!r} ended: {(self.folder / 'log').read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._ready}", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.process.args!r} is not ready")

    def metrics(self) -> Series:
        """Its own metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            return series(answer.read().decode())

    def post(self, path: str, timeout_s: float = 300.0) -> bytes:
        """POST without a body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=b"", method="POST")
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            body_read: bytes = answer.read()
            return body_read

    @property
    def cpu_s(self) -> float:
        """CPU time so far."""
        return cpu_s(self.process.pid)

    @property
    def memory_b(self) -> tuple[int, int]:
        """Resident now, and at most so far."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        now, most = (int(text.partition(f"{key}:")[2].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
        return now, most

    @property
    def disk_b(self) -> int:
        """Of its folder."""
        size_b = 0
        for path in self.folder.rglob("*"):
            try:
                size_b += path.stat().st_blocks * 512
            except FileNotFoundError:  # removed by compaction
                continue
        return size_b

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.terminate()
        self.process.wait(120)


class LoopbackConnection:
    """A kept connection to a server on loopback, which closes what rests for minutes."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """Seconds until the whole response was there, its status and its body."""
        try:
            return self._send(method, target, body, headers or {})
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self._connection.close()
            return self._send(method, target, body, headers or {})

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        began = time.perf_counter()
        self._connection.request(method, target, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read(), time.perf_counter() - began


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int, ready: str) -> Iterator[ServerProcess]:
    server = ServerProcess(command, folder, port, ready)
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@contextmanager
def prometheus(program: str, folder: Path, port: int) -> Iterator[ServerProcess]:
    """Prometheus that scrapes nothing yet."""
    folder.mkdir(parents=True, exist_ok=True)
    configure(folder, SCRAPE_S)
    command = [
        program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle", "--web.enable-admin-api",
        "--web.enable-remote-write-receiver", "--query.max-samples=100000000", "--log.level=warn",
    ]  # fmt: skip
    with _running(command, folder, port, "/-/ready") as server:
        yield server


def configure(folder: Path, scrape_s: float, *, targets: str = "", rules: bool = False, remote_write: str = "") -> None:
    """Write its configuration; `targets` and `remote_write` are addresses, without which it does neither."""
    interval = f"{scrape_s:g}s"
    if rules:
        for name in RULES:
            (folder / name).write_text(_quickened((ROOT / "dashboards/prometheus" / name).read_text(), scrape_s))
    config: dict[str, object] = {
        "global": {
            "scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval,
            "external_labels": EXTERNAL,
        },
        "runtime": {"gogc": GOGC},
        "rule_files": list(RULES) if rules else [],
        # `job` is a label of each target, as agents and site processes have one each.
        "scrape_configs": [{"job_name": "wattlens", "http_sd_configs": [{"url": targets}]}] if targets else [],
        "remote_write": [{"url": remote_write}] if remote_write else [],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(config))


def _quickened(rules: str, scrape_s: float) -> str:
    """Rules as they ship; where a short run scrapes faster than they are made for, evaluated as often as it scrapes."""
    return rules if scrape_s >= SCRAPE_S else re.sub(r"interval: \S+", f"interval: {scrape_s:g}s", rules)


@contextmanager
def victoria_metrics(program: str, folder: Path, port: int) -> Iterator[ServerProcess]:
    """VictoriaMetrics as the long-term store; newest samples are shown at once."""
    command = [
        program, f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=30d",
        "-search.latencyOffset=0s", "-search.maxUniqueTimeseries=3000000", "-search.maxQueryDuration=120s",
        "-search.maxSeries=100000", "-memory.allowedBytes=2GiB", "-loggerLevel=WARN",
    ]  # fmt: skip
    with _running(command, folder, port, "/health") as server:
        yield server


def total(metrics: Series, name: str, labels: Mapping[str, str] | None = None) -> float:
    """Sum of a metric's series with these labels."""
    wanted = set((labels or {}).items())
    return sum(value for (metric, have), value in metrics.items() if metric == name and wanted <= set(have))
