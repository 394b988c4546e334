"""Clients of the agent's Unix socket that only take its places, as many users and as nobody that the kernel still knows."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.hostile.rig import Attack, Rig
from benchmarks.running import cpu_s
from energy_agent.runtime.agent_socket import ask

USERS = 40
_ATTACKER = """
import os, resource, select, socket, sys, time
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # a machine with few cores: judge the agent, not the scheduler
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
path, *kinds = sys.argv[1:]
for each in kinds:
    if os.fork() == 0:
        break
else:
    time.sleep(1e6)
kind, _, uid = each.partition(":")
os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
held = []
while True:
    client = socket.socket(socket.AF_UNIX)
    if kind == "stranger":  # the process that connected has ended, another one keeps the connection
        child = os.fork()
        if child == 0:
            os._exit(client.connect_ex(path) != 0)
        os.waitpid(child, 0)
    else:
        client.connect_ex(path)
    if kind == "flood":
        client.close()
        continue
    held.append(client)
    if len(held) >= (16 if kind == "silent" else 200):
        time.sleep(0.5)
        closed = select.select(held, [], [], 0)[0]
        for client in closed:
            held.remove(client)
            client.close()
"""


def configuration(folder: Path) -> Mapping[str, Any]:
    """A socket that every user reaches."""
    folder.chmod(0o755)
    return {"client": {"socket": str(folder / "agent.sock")}}


def is_answered() -> bool:
    """Whether the product's own client gets a response, within its own patience."""
    try:
        return ask("GET", "/v1/me")[0] == 200
    except (OSError, ValueError):
        return False


def run(rig: Rig) -> None:
    """Three kinds of clients at once, while a well-behaved one asks ten times per second."""
    path = rig.folder / "agent.sock"
    kinds = ["stranger:65534", "flood:65533", *(f"silent:{60000 + n}" for n in range(USERS))]
    command = [sys.executable, "-I", "-c", _ATTACKER, str(path), *kinds]
    attackers = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    answers: list[bool] = []
    took_ms: list[float] = []
    os.environ["WATTLENS_AGENT_SOCKET"] = str(path)
    try:
        end_s = time.monotonic() + rig.seconds
        time.sleep(1.0)
        cpu_before, began_at_s = cpu_s(rig.agent.pid), time.monotonic()
        while time.monotonic() < end_s:
            began_s = time.monotonic()
            answers.append(is_answered())
            took_ms.append((time.monotonic() - began_s) * 1e3)
            time.sleep(max(0.0, began_s + 0.1 - time.monotonic()))
        cpu = (cpu_s(rig.agent.pid) - cpu_before) / (time.monotonic() - began_at_s)
    finally:
        os.killpg(attackers.pid, signal.SIGKILL)
        attackers.wait()
    rig.figures["connections of strangers, silent users, flooding users"] = json.dumps([1, USERS, 1])
    rig.figures["requests of the well-behaved client answered"] = f"{sum(answers)} of {len(answers)}"
    rig.figures["its median and worst, ms"] = [round(statistics.median(took_ms), 1), round(max(took_ms), 1)]
    rig.figures["the agent's share of a core"] = round(cpu, 3)
    rig.require("each request of a well-behaved client is answered", all(answers))


SPEC = Attack(
    name="socket_clients",
    summary=f"strangers, {USERS} silent users and a flood of connections on the client socket",
    run=run,
    configuration=configuration,
    needs_root=True,
)
