"""Many agents and one site process: how often is each meter of the building asked?

A simulated building behind its real Modbus TCP gateway, a proxy in between that counts the requests of each unit, one `wattlens
site` that polls every meter, and so many real `wattlens agent` processes, each scraped while the site is read. An agent knows
no meter of a building, so however many there are, a meter is asked once a period.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from energy_agent.sim.building.site import site_config
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.scenario import load

PERIOD_S = 5.0
_HEAD_B = 7  # MBAP: transaction, protocol, length, unit


@dataclass(frozen=True, slots=True)
class Result:
    """What came out."""

    agents: int
    seconds: float
    meters: int
    asked_most: int
    asked_least: int
    periods: float
    agents_answering: int


class Counting:
    """A TCP proxy that counts Modbus requests by unit."""

    def __init__(self, host: str, port: int) -> None:
        self.asked: Counter[int] = Counter()
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        waiting = b""
        with contextlib.suppress(OSError):
            while data := client.recv(4096):
                waiting += data
                while len(waiting) >= _HEAD_B and len(waiting) >= 6 + int.from_bytes(waiting[4:6], "big"):
                    self.asked[waiting[6]] += 1
                    waiting = waiting[6 + int.from_bytes(waiting[4:6], "big") :]
                server.sendall(data)
        server.close()

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(4096):
                client.sendall(data)
        client.close()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


@contextlib.contextmanager
def child(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `wattlens` process; its log is its standard error."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "wattlens", *command], stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def url_in(log: Path, seconds: float = 180.0) -> str:
    """Where a process says that it listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for word in log.read_text().split():
            if word.startswith("http://"):
                return word.rstrip(",")
        time.sleep(0.1)
    raise TimeoutError(f"{log}: {log.read_text()[-500:]}")


def run(agents: int, seconds: float) -> Result:
    """Start everything, count, end everything."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wattlens-")))
        scenario = load("h100-node")
        data = scenario.model_dump(mode="json") | {"facility": {}}
        node = stack.enter_context(SimulatedNode.start(type(scenario).model_validate(data), folder / "node"))
        config = site_config(node, period_s=PERIOD_S)
        first = config["meters"][0]["modbus"]
        proxy = Counting(first["host"], first["port"])
        stack.callback(proxy.close)
        for meter in config["meters"]:
            meter["modbus"] |= {"host": "127.0.0.1", "port": proxy.port}
        (folder / "site.yaml").write_text(yaml.safe_dump(config))
        (folder / "agent.yaml").write_text(yaml.safe_dump({"sources": {"nvml": {"on_start_failure": "skip"}}}))
        urls = []
        for n in range(agents):
            state = ["--state", str(folder / f"agent-{n}"), "--listen", "127.0.0.1:0"]
            stack.enter_context(child(["agent", "--config", str(folder / "agent.yaml"), *state], folder / f"agent-{n}.log"))
        urls = [url_in(folder / f"agent-{n}.log") for n in range(agents)]
        state = ["--state", str(folder / "site"), "--listen", "127.0.0.1:0", "--simulate", str(node.directory)]
        stack.enter_context(child(["site", "--config", str(folder / "site.yaml"), *state], folder / "site.log"))
        url_in(folder / "site.log")
        time.sleep(2 * PERIOD_S)
        before, began_s = Counter(proxy.asked), time.monotonic()
        answering = 0
        for url in urls:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=60) as page:
                answering += b"wattlens_build_info" in page.read()
        time.sleep(max(0.0, seconds - (time.monotonic() - began_s)))
        took_s = time.monotonic() - began_s
        asked = [proxy.asked[unit] - before[unit] for unit in proxy.asked]
        return Result(agents, took_s, len(config["meters"]), max(asked), min(asked), took_s / PERIOD_S, answering)


def held(result: Result) -> bool:
    """Each meter is asked once a period, give or take the one that is just due."""
    near = all(abs(n - result.periods) <= 1.5 for n in (result.asked_least, result.asked_most))
    return near and result.agents_answering == result.agents


def main(arguments: list[str]) -> int:
    """Print what came out; 1 where a meter was asked more or less often than once a period."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    result = run(args.agents, args.seconds)
    if args.json:
        print(json.dumps(asdict(result)))
    else:
        agents = f"{result.agents} agents ({result.agents_answering} answer)"
        print(f"{agents}, one site process, {result.meters} meters, {result.seconds:.0f} s")
        print(f"periods {result.periods:.1f}; each meter was asked {result.asked_least} to {result.asked_most} times")
    return int(not held(result))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
