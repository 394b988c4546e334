"""Another program has a port of the agent when it starts, and removes or replaces its client socket again and again."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.hostile.rig import Attack, Rig
from energy_agent.sdk.agent import ask

_RETURN_S = 3.0
_taken: list[socket.socket] = []


def configuration(folder: Path) -> Mapping[str, Any]:
    """Probes on a port that is taken, and a client socket."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    _taken.append(listener)
    return {"web": {"probe_listen": f"127.0.0.1:{listener.getsockname()[1]}"}, "client": {"socket": str(folder / "agent.sock")}}


def run(rig: Rig) -> None:
    """Remove the socket, then put another program's in its place and end that, in turn."""
    path = rig.folder / "agent.sock"
    os.environ["WATTLENS_AGENT_SOCKET"] = str(path)
    listener = _taken.pop()
    try:
        down = rig.agent.page().get(("wattlens_source_up", (("source", "web.probe_listen"),)))
        rig.require("a port that is taken is reported", down == 0)
        end_s, returns_s = time.monotonic() + rig.seconds, []
        while time.monotonic() < end_s:
            path.unlink(missing_ok=True)
            if len(returns_s) % 2:
                with socket.socket(socket.AF_UNIX) as impostor:
                    impostor.bind(str(path))
                    impostor.listen()
                    time.sleep(1.5)
                path.unlink(missing_ok=True)
            returns_s.append(_wait_for_answer())
        rig.figures["client socket removed or replaced"] = len(returns_s)
        rig.figures["worst time until it answered again, s"] = round(max(returns_s), 1)
        rig.require(f"the client socket is back within {_RETURN_S:g} s", max(returns_s) <= _RETURN_S)
    finally:
        listener.close()


def _wait_for_answer() -> float:
    began_s = time.monotonic()
    while time.monotonic() - began_s < 2 * _RETURN_S:
        with suppress(OSError, ValueError):
            if ask("GET", "/v1/me")[0] == 200:
                break
        time.sleep(0.05)
    return time.monotonic() - began_s


SPEC = Attack(
    name="taken_ports",
    summary="a port is taken when the agent starts, and its client socket is removed and replaced",
    run=run,
    configuration=configuration,
)
