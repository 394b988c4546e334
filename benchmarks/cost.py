"""Cost of the agent and of `wattlens top` on a node of eight H100s under the demo's load: CPU and memory of all processes.

Run from the repository's root: python -m benchmarks cost [nvitop] [serving] [top] [pairs] [--seconds 120]

- pairs: this commit, each commit of `--against` and nvitop-exporter, where it is installed, on one node in the same seconds,
  `--rounds` times; the medians, and the ratios of this commit's figures to each other program's in the same round. Runs by name
  only. `driver_ms_per_s` is the number of NVML calls times CALL_US.
- nvitop: together with nvitop-exporter at the same time, both sampling once per second; then alone, ten times per second.
- serving: with the metrics endpoints of three inference servers; the bars are half of the shipped limit, and no growth.
- top: in a terminal of `--columns` and `--lines`, refreshed once per second, on an agent that runs anyway and with its private
  agent, together with nvitop; the bar: no more CPU than nvitop.

Each exporter is scraped once per second. Memory is the proportional set size, at the start and at the end. CPU is of a core.
The image's Python is 3.13; `make VENV=.venv-3.13 PYTHON=python3.13 .venv-3.13/.dev` gives it, and each row names what ran.
"""

import fcntl
import http.client
import os
import platform
import pty
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks.hostile.metrics_servers import MetricsServer
from benchmarks.runner import Row
from benchmarks.running import cpu_s, family, of_family, pss_b, running_agent, simulated
from energy_agent.core.errors import UsageError
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, free_port

WARM_UP_S = {"nvitop": 8.0, "serving": 15.0, "top": 20.0, "pairs": 15.0}  # top: histories and health are on the screen
CALL_US = {
    "nvmlDeviceGetComputeRunningProcesses_v3": 4491.4, "nvmlDeviceGetGraphicsRunningProcesses_v3": 4491.4,
    "nvmlDeviceGetFanSpeed_v2": 137.1, "nvmlDeviceGetUtilizationRates": 2.5, "nvmlDeviceGetPcieThroughput": 20_000.0,
}  # fmt: skip
"""Published times of calls: RTX 4090 with driver 610.57 (MangoHud pull request 2104; process lists by that of graphics);
PCIe throughput: NVML's documentation. Others are assumed to take as long as GetMemoryInfo there: OTHER_CALL_US."""
OTHER_CALL_US = 11.6
PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "Accept-Encoding": "gzip", "User-Agent": "Prometheus/3.5.0", "X-Prometheus-Scrape-Timeout-Seconds": "10",
}  # fmt: skip
"""The headers that Prometheus 3 sends."""
_TALLY = struct.Struct("=56sQ")  # of sim/gpu/native/nvml_core.c


def run(
    *names: str, seconds: float = 120.0, warm_up_s: float = 0.0, columns: int = 160, lines: int = 50, rounds: int = 5,
    against: str = "875a47b", scrape_s: float = 1.0,
) -> Iterator[Row]:  # fmt: skip
    """A row for each program; `warm_up_s` in place of each case's own; `against`: commits with commas between them, of
    `pairs`, which scrapes each program every `scrape_s`.
    """
    if unknown := set(names) - WARM_UP_S.keys():
        raise UsageError(f"unknown case {min(unknown)!r}; there are: {', '.join(WARM_UP_S)}")
    for name in names or [name for name in WARM_UP_S if name != "pairs"]:
        with simulated("h100-node") as (base, node):
            wait_s = warm_up_s or WARM_UP_S[name]
            if name == "pairs":
                yield from measure_pairs(base, node, seconds, wait_s, rounds, against.split(",") if against else [], scrape_s)
                continue
            if name == "top":
                rows = measure_top(base, node, seconds, wait_s, (lines, columns))
            else:
                rows = _case(name, base, node, seconds, wait_s)
        yield from ({"case": name, **row, "ok": ok} for row, ok in zip(rows, _bars(name, rows), strict=True))


def _case(name: str, base: Path, node: SimulatedNode, seconds: float, warm_up_s: float) -> list[Row]:
    if name == "nvitop":
        rows = measure(base, node, {"agent": {}}, seconds, warm_up_s, beside=True)
        return rows + measure(base, node, {"agent 10 Hz": {"sampling": {"period_s": 0.1}}}, seconds, warm_up_s)
    with ExitStack() as stack:
        servers = [MetricsServer("honest") for _ in range(3)]
        for server in servers:
            stack.callback(server.end)
        tokens = [{"workload": f"chat-{k}", "url": server.url, "server": "vllm"} for k, server in enumerate(servers)]
        return measure(base, node, {"agent": {"tokens": tokens}}, seconds, warm_up_s)


def _bars(name: str, rows: list[Row]) -> list[bool]:
    if name == "nvitop":
        agent, peer, fast = rows
        return [agent["cpu"] <= 0.25 * peer["cpu"] and agent["pss_mib"][1] <= 80, True, fast["cpu"] <= 0.02]
    if name == "top":
        return [row["running"] and row["cpu"] <= rows[-1]["cpu"] for row in rows]
    before, after = rows[0]["pss_mib"]
    return [max(before, after) <= 96 and after - before <= 4]


def measure(
    base: Path, node: SimulatedNode, configs: Mapping[str, Row], seconds: float, warm_up_s: float, *, beside: bool = False
) -> list[Row]:
    """Run agents and optionally nvitop-exporter (`beside`) concurrently, so that all of them see the same machine."""
    with ExitStack() as stack:
        agents = {name: stack.enter_context(running_agent(node, base / name, config)) for name, config in configs.items()}
        exporters = {name: (agent.pid, agent.url.removeprefix("http://").partition("/")[0]) for name, agent in agents.items()}
        if beside:
            exporters["nvitop-exporter"] = stack.enter_context(_nvitop(node))
        clients = {
            name: stack.enter_context(closing(http.client.HTTPConnection(address, timeout=60)))
            for name, (_, address) in exporters.items()
        }
        scrapes: dict[str, list[tuple[float, int]]] = {name: [] for name in exporters}
        time.sleep(warm_up_s)
        before, memory, began_s = _used(cpu_s, exporters), _used(pss_b, exporters), time.monotonic()
        while (now_s := time.monotonic()) < began_s + seconds:
            for name, client in clients.items():
                asked_s = time.monotonic()
                client.request("GET", "/metrics")
                size = len(client.getresponse().read())
                scrapes[name].append((time.monotonic() - asked_s, size))
            time.sleep(max(0.0, now_s + 1.0 - time.monotonic()))
        after, took_s = _used(cpu_s, exporters), time.monotonic() - began_s
        return [
            {
                "exporter": name, "python": platform.python_version(), "cpu": round((after[name] - before[name]) / took_s, 5),
                "pss_mib": [round(pss / 2**20, 1) for pss in (memory[name], of_family(pss_b, pid))],
                "processes": int(of_family(lambda _: 1, pid)), "page_b": scrapes[name][-1][1],
                "scrape_p50_ms": 1e3 * statistics.median(took for took, _ in scrapes[name]),
                "scrape_p99_ms": 1e3 * sorted(scrapes[name])[int(0.99 * len(scrapes[name]))][0],
            }
            for name, (pid, _) in exporters.items()
        ]  # fmt: skip


def measure_pairs(
    base: Path, node: SimulatedNode, seconds: float, warm_up_s: float, rounds: int, against: list[str], scrape_s: float
) -> Iterator[Row]:
    """The medians of each program's rounds, then the ratios of this commit's figures to the others' of the same round."""
    with ExitStack() as stack:
        checkouts = {"this": Path.cwd()} | {revision: stack.enter_context(_checkout(revision)) for revision in against}
        programs: dict[str, tuple[int, str]] = {}
        for name, checkout in checkouts.items():
            (base / f"{name}-calls").mkdir()
            environ = {"PYTHONPATH": str(checkout), "WATTLENS_SIM_CALLS": str(base / f"{name}-calls")}
            agent = stack.enter_context(running_agent(node, base / name, environ=environ, folder=checkout))
            programs[name] = agent.pid, agent.url.removeprefix("http://").partition("/")[0]
        with suppress(UsageError):
            (base / "nvitop-calls").mkdir()
            programs["nvitop"] = stack.enter_context(_nvitop(node, {"WATTLENS_SIM_CALLS": str(base / "nvitop-calls")}))
        clients = {
            name: stack.enter_context(closing(http.client.HTTPConnection(at, timeout=60))) for name, (_, at) in programs.items()
        }
        time.sleep(warm_up_s)
        figures = [_round(base, programs, clients, seconds, scrape_s, turn) for turn in range(rounds)]
    for name in programs:
        medians = {key: statistics.median(of[name][key] for of in figures) for key in figures[0][name]}
        yield {"case": "pairs", "program": name, "python": platform.python_version(), **medians}
    for other in programs.keys() - {"this"}:
        ratios = {
            key: sorted(round(of["this"][key] / of[other][key], 3) for of in figures if of[other][key])
            for key in figures[0]["this"]
        }
        yield {
            "case": "pairs", "this to": other,
            **{key: f"{statistics.median(of):.3f} ({of[0]} to {of[-1]})" if of else "-" for key, of in ratios.items()},
        }  # fmt: skip


def _round(
    base: Path, programs: Mapping[str, tuple[int, str]], clients: Mapping[str, http.client.HTTPConnection], seconds: float,
    scrape_s: float, turn: int,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Figures of each program over the same seconds, in which another one is scraped first each time."""
    names, scrapes = list(programs), {name: list[tuple[float, int]]() for name in programs}
    before = {name: (of_family(cpu_clock_s, pid), driver_time(base / f"{name}-calls")) for name, (pid, _) in programs.items()}
    began_s = time.monotonic()
    for scrape in range(round(seconds / scrape_s)):
        for k in range(len(names)):
            name = names[(scrape + turn + k) % len(names)]
            time.sleep(max(0.0, began_s + (scrape + (k + 0.5) / len(names)) * scrape_s - time.monotonic()))
            asked_s = time.monotonic()
            clients[name].request("GET", "/metrics", headers=PROMETHEUS)
            size = len(clients[name].getresponse().read())
            scrapes[name].append((time.monotonic() - asked_s, size))
    figures: dict[str, dict[str, float]] = {}
    for name, (pid, _) in programs.items():
        took_s = time.monotonic() - began_s
        calls, driver_ms = (now - then for now, then in zip(driver_time(base / f"{name}-calls"), before[name][1], strict=True))
        times_ms = sorted(1e3 * took for took, _ in scrapes[name])
        figures[name] = {
            "cpu_ms_per_s": 1e3 * (of_family(cpu_clock_s, pid) - before[name][0]) / took_s,
            "driver_ms_per_s": driver_ms / took_s, "calls_per_s": calls / took_s,
            "pss_mib": of_family(pss_b, pid) / 2**20, "processes": len(list(family(pid))), "page_b": scrapes[name][-1][1],
            "scrape_p50_ms": statistics.median(times_ms), "scrape_p99_ms": times_ms[int(0.99 * len(times_ms))],
        }  # fmt: skip
    return figures


def cpu_clock_s(pid: int) -> float:
    """CPU time of a process in ns resolution, and in ticks that of its reaped children, s; raises OSError once it has ended."""
    children = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
    return time.clock_gettime((~pid << 3) | 2) + sum(map(int, children)) / os.sysconf("SC_CLK_TCK")  # CPUCLOCK_SCHED


def driver_time(folder: Path) -> tuple[int, float]:
    """NVML calls of all processes of a program so far, and the driver's time for them, ms."""
    calls: Counter[str] = Counter()
    for path in folder.iterdir():
        for name, count in _TALLY.iter_unpack(path.read_bytes()):
            calls[name.rstrip(b"\0").decode()] += count
    return calls.total(), sum(count * CALL_US.get(name, OTHER_CALL_US) for name, count in calls.items()) / 1e3


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """The files of a commit in a temporary folder; raises UsageError where it is unknown."""
    with tempfile.TemporaryDirectory(prefix="wattlens-commit-") as name:
        files = subprocess.run(["git", "archive", revision], capture_output=True, check=False)
        if files.returncode:
            raise UsageError(f"--against {revision}: {files.stderr.decode().strip()}; expected a commit of this repository")
        subprocess.run(["tar", "-x", "-C", name], input=files.stdout, check=True)
        yield Path(name)


def _used(of: Callable[[int], float], exporters: Mapping[str, tuple[int, str]]) -> dict[str, float]:
    return {name: of_family(of, pid) for name, (pid, _) in exporters.items()}


def _is_served(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def measure_top(base: Path, node: SimulatedNode, seconds: float, warm_up_s: float, window: tuple[int, int]) -> list[Row]:
    """`top` on an agent and with its own, and nvitop, each in a terminal of the same size."""
    top = [sys.executable, "-m", "wattlens", "top"]
    with ExitStack() as stack:
        agent = stack.enter_context(running_agent(node, base / "agent"))
        commands = {
            "top": ([*top, "--url", agent.url], {"WATTLENS_SIM": str(node.directory)}),
            "top with private agent": ([*top, "--simulate", str(node.directory)], {}),
            "nvitop": ([_installed("nvitop"), "--monitor", "full", "--interval", "1"], node.environ()),
        }
        output_b = dict.fromkeys(commands, 0)
        programs = {
            name: stack.enter_context(_in_terminal(command, environ, window, partial(_count, output_b, name)))
            for name, (command, environ) in commands.items()
        }
        time.sleep(warm_up_s)
        before = {name: (of_family(cpu_s, p.pid), output_b[name]) for name, p in programs.items()}
        began_s = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        return [
            {
                "program": name, "python": platform.python_version(), "window": f"{window[1]}x{window[0]}",
                "cpu": round((of_family(cpu_s, p.pid) - before[name][0]) / took_s, 5),
                "pss_mib": round(of_family(pss_b, p.pid) / 2**20, 1),
                "output_b_per_s": round((output_b[name] - before[name][1]) / took_s), "running": p.poll() is None,
            }
            for name, p in programs.items()
        ]  # fmt: skip


def _count(output_b: dict[str, int], name: str, terminal: int) -> None:
    """Read and count a program's output until it ends."""
    with suppress(OSError):
        while True:
            output_b[name] += len(os.read(terminal, 1 << 16))


@contextmanager
def _in_terminal(
    command: list[str], environ: Mapping[str, str], window: tuple[int, int], read: Callable[[int], None]
) -> "Iterator[subprocess.Popen[bytes]]":
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", *window, 0, 0))
    env = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | dict(environ)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    thread = threading.Thread(target=read, args=(ours,), daemon=True)
    thread.start()
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        thread.join(5)
        os.close(ours)


def _installed(program: str) -> str:
    path = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        raise UsageError(f"{program} is not installed: make test-all installs it")
    return path


@contextmanager
def _nvitop(node: SimulatedNode, environ: Mapping[str, str] = MappingProxyType({})) -> Iterator[tuple[int, str]]:
    port = free_port()
    command = [_installed("nvitop-exporter"), "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "1.0"]
    peer = subprocess.Popen(
        command, env=os.environ | node.environ() | dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: _is_served(port))
        yield peer.pid, f"127.0.0.1:{port}"
    finally:
        peer.terminate()
        peer.wait(60)
