"""Polling rate of each meter of a building with many agents and one site process.

A simulated building behind its real Modbus TCP gateway, a proxy in between that counts the requests of each unit, one `wattlens
site` that polls every meter, and many real `wattlens agent` processes, each scraped while the site is read. An agent does
not read meters of a building, so the site process polls each meter once per period for any number of agents.
"""

import contextlib
import json
import socket
import threading
import time
import urllib.request
from collections import Counter

from benchmarks.runner import Row
from benchmarks.running import running_role, simulated, url_in
from energy_agent.sim.building.site import site_config
from energy_agent.sim.scenario import load

PERIOD_S = 5.0
_HEAD_B = 7  # MBAP: transaction, protocol, length, unit


class RequestCounter:
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


def run(agents: int = 200, seconds: float = 60.0) -> Row:
    """Start everything, count, stop everything; each meter is polled once per period, plus or minus one poll."""
    with contextlib.ExitStack() as stack:
        nodes = load("h100-node").model_dump(mode="json") | {"facility": {}}
        folder, node = stack.enter_context(simulated(nodes))
        config = site_config(node, period_s=PERIOD_S)
        first = config["meters"][0]["modbus"]
        proxy = RequestCounter(first["host"], first["port"])
        stack.callback(proxy.close)
        for meter in config["meters"]:
            meter["modbus"] |= {"host": "127.0.0.1", "port": proxy.port}
        listen, logs = ("--listen", "127.0.0.1:0"), []
        for n in range(agents):
            place = folder / f"agent-{n}"
            place.mkdir()
            (place / "agent.yaml").write_text(json.dumps({"sources": {"nvml": {"on_start_failure": "skip"}}}))
            logs.append(stack.enter_context(running_role("agent", place, *listen))[1])
        urls = [url_in(log) for log in logs]
        (folder / "site.yaml").write_text(json.dumps(config))
        url_in(stack.enter_context(running_role("site", folder, *listen, "--simulate", node.directory))[1])
        time.sleep(2 * PERIOD_S)
        before, began_s, answering = Counter(proxy.asked), time.monotonic(), 0
        for url in urls:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=60) as page:
                answering += b"wattlens_build_info" in page.read()
        time.sleep(max(0.0, seconds - (time.monotonic() - began_s)))
        periods = (time.monotonic() - began_s) / PERIOD_S
        asked = [proxy.asked[unit] - before[unit] for unit in proxy.asked]
        ok = all(abs(n - periods) <= 1.5 for n in asked) and answering == agents
        counts = {"periods": periods, "asked_least": min(asked), "asked_most": max(asked)}
        return {"agents": agents, "answering": answering, "meters": len(config["meters"]), **counts, "ok": ok}
