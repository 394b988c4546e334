"""Users of the agent's client socket and ports: floods, squatters, and names of other tenants' cgroups."""

import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.hostile.rig import Rig, attack
from benchmarks.runner import Row
from benchmarks.running import cpu_s
from energy_agent.runtime.network.agent_socket import ask
from energy_agent.sim import roots

USERS = 40
_RETURN_S = 3.0
_taken: list[socket.socket] = []
_CLIENT = """
import json, os, socket, sys
path, uid = sys.argv[1], int(sys.argv[2])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
print("up", flush=True)
for line in sys.stdin:
    method, target, body = json.loads(line)
    data = b"" if body is None else json.dumps(body).encode()
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(path)
    head = [f"{method} {target} HTTP/1.1", "Host: agent", f"Content-Length: {len(data)}", "Connection: close", "", ""]
    client.sendall("\\r\\n".join(head).encode() + data)
    answer = b""
    while part := client.recv(65536):
        answer += part
    print(answer.partition(b"\\r\\n\\r\\n")[2].decode().strip() or "{}", flush=True)
"""
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


class UserClient:
    """A process of some user that speaks with the agent; with a cgroup it is one of the simulated node's."""

    def __init__(self, rig: Rig, uid: int, stack: ExitStack, cgroup: str = "") -> None:
        command = [sys.executable, "-I", "-c", _CLIENT, str(rig.folder / "agent.sock"), str(uid)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self._process.communicate)
        stack.callback(self._process.kill)
        self.pid = self._process.pid
        self._answer()
        if cgroup:
            roots.add_process(rig.node.directory, self.pid, cgroup)

    def ask(self, method: str, path: str, body: Row | None = None) -> Row:
        """The agent's response."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, path, body]) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._answer())
        return reply if isinstance(reply, dict) else {}

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def open_socket(folder: Path) -> Row:
    """A socket that every user reaches."""
    folder.chmod(0o755)
    return {"client": {"socket": str(folder / "agent.sock")}}


def is_answered() -> bool:
    """Whether the product's own client gets a response, within its own patience."""
    with suppress(OSError, ValueError):
        return ask("GET", "/v1/me")[0] == 200
    return False


@attack("a user with a cgroup directory of its own names cgroups like other workloads", open_socket, needs_root=True)
def cgroup_names(rig: Rig) -> None:
    """Try every workload of the node as a name, in a real cgroup that belongs to uid 65534."""
    root = next((p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (p / "cgroup.procs").is_file()), None)
    if root is None:
        rig.figures["skipped"] = "no cgroup v2 on this machine"
        return
    pod = "/kubepods/burstable/pod3c5e1d52-8b1f-4c1e-9a57-0f6d2b7e4a11"
    paths = [
        *(str(workload["cgroup"]) for workload in rig.node.workloads()),
        pod,
        f"{pod}/{'ab' * 32}",
        "/system.slice/slurmstepd.scope/job_4711/step_0",
        "/user@1.service/train.service",
        "/user.slice/user-1.slice/user@1.service/app.slice/train.service",
        f"/user@0.service/libpod-{'ab' * 32}.scope",
    ]
    names, end_s = [], time.monotonic() + rig.seconds
    for cgroup in itertools.takewhile(lambda _: time.monotonic() < end_s, itertools.cycle(paths)):
        with ExitStack() as stack:
            folder = root / f"wattlens-hostile-{uuid.uuid4().hex[:8]}.slice"
            for number, part in enumerate(["", *cgroup.strip("/").split("/")]):
                folder = folder / part if part else folder
                try:
                    folder.mkdir()
                except OSError as error:
                    rig.figures["skipped"] = f"this machine lets us make no cgroup: {error.strerror}"
                    return
                stack.callback(folder.rmdir)
                if number == 0:
                    os.chown(folder, 65534, 65534)
            client = UserClient(rig, 65534, stack)
            (folder / "cgroup.procs").write_text(str(client.pid))
            me = client.ask("GET", "/v1/me")
            names.append(me["workload"])
            rig.require(f"a name below a delegated directory is not {cgroup}", me["kind"] == "process")
    kinds = sorted({name.partition("-")[0] for name in names})
    rig.figures["attempts, and what the agent took the user for"] = [len(names), kinds]


@attack(f"strangers, {USERS} silent users and a flood of connections on the client socket", open_socket, needs_root=True)
def socket_clients(rig: Rig) -> None:
    """Three kinds of clients at once, while a well-behaved one sends ten requests per second."""
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
    rig.figures["connections of strangers, silent users, flooding users"] = [1, USERS, 1]
    rig.figures["requests of the well-behaved client answered"] = f"{sum(answers)} of {len(answers)}"
    rig.figures["its median and worst, ms"] = [statistics.median(took_ms), max(took_ms)]
    rig.figures["the agent's share of a core"] = cpu
    rig.require("each request of a well-behaved client is answered", all(answers))


def _taken_port(folder: Path) -> Row:
    """Probes on a port that is taken, and a client socket."""
    _taken.append(socket.create_server(("127.0.0.1", 0)))
    address = f"127.0.0.1:{_taken[0].getsockname()[1]}"
    return {"web": {"probe_listen": address}, "client": {"socket": str(folder / "agent.sock")}}


@attack("a port is taken when the agent starts, and its client socket is removed and replaced", _taken_port)
def taken_ports(rig: Rig) -> None:
    """Remove the socket, then put another program's in its place and end that, in turn."""
    path = rig.folder / "agent.sock"
    os.environ["WATTLENS_AGENT_SOCKET"] = str(path)
    with _taken.pop():
        down = rig.agent.page().get(("wattlens_source_up", (("source", "web.probe_listen"),)))
        rig.require("a port that is taken is reported", down == 0)
        end_s, returns_s = time.monotonic() + rig.seconds, list[float]()
        while time.monotonic() < end_s:
            path.unlink(missing_ok=True)
            if len(returns_s) % 2:
                with socket.socket(socket.AF_UNIX) as impostor:
                    impostor.bind(str(path))
                    impostor.listen()
                    time.sleep(1.5)
                path.unlink(missing_ok=True)
            began_s = time.monotonic()
            while not is_answered() and time.monotonic() - began_s < 2 * _RETURN_S:
                time.sleep(0.05)
            returns_s.append(time.monotonic() - began_s)
    rig.figures |= {"client socket removed or replaced": len(returns_s), "worst until it answered again, s": max(returns_s)}
    rig.require(f"the client socket is back within {_RETURN_S:g} s", max(returns_s) <= _RETURN_S)
