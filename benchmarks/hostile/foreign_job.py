"""A user with one GPU says that it is the missing rank of another tenant's job, and requests the lowest clock and limit for it.

The victim, in the unit of the training job on GPUs 0 to 3, reports rank 0 of 2: a job over several nodes, which is not steered.
The attacker, uid 65534 on GPU 7, reports rank 1 of the same rendezvous and of every other name that it can think of.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.hostile.rig import Attack, Rig
from energy_agent.sim import roots

_RENDEZVOUS = "10.1.2.3:29500"
_GPU = 7
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


def configuration(folder: Path) -> Mapping[str, Any]:
    """Steering as the documentation enables it, with a socket that every user reaches."""
    folder.chmod(0o755)
    return {
        "client": {"socket": str(folder / "agent.sock")},
        "holders": {"period_s": 1},
        "dvfs": {"mode": "enforce", "auto_groups": True, "actuator": str(folder / "a.sock")},
    }


class _Client:
    """A process of some user that speaks with the agent."""

    def __init__(self, rig: Rig, uid: int, cgroup: str, stack: ExitStack) -> None:
        command = [sys.executable, "-I", "-c", _CLIENT, str(rig.folder / "agent.sock"), str(uid)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self._end)
        self._answer()
        self.pid = self._process.pid
        roots.add_process(rig.node.directory, self.pid, cgroup)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The agent's response."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, path, body]) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._answer())
        return found if isinstance(found, dict) else {}

    def report(self, group: str, rank: int, age_s: float) -> None:
        """Report training as one of two ranks."""
        body = {"run": f"{self.pid:016x}", "age_s": age_s, "steps": {"training": int(2 * age_s)}, "step_age_s": 0.1}
        self.ask("POST", "/v1/training", body | {"group": group, "rank": rank, "world": 2})

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


def run(rig: Rig) -> None:
    """Join every job of the node by its name, and look at all GPUs but the attacker's own."""
    (rig.folder / "actuator.yaml").write_text("allow: [{devices: all, knobs: [clock, power], baseline: unlocked}]\n")
    places = ["--socket", rig.folder / "a.sock", "--state", rig.folder / "actuator", "--simulate", rig.node.directory]
    command = [sys.executable, "-m", "wattlens", "actuator", "--config", rig.folder / "actuator.yaml", *places]
    moved, seen, own = set(), set(), set()
    with rig.node.plant() as plant, ExitStack() as stack:
        actuator = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(actuator.wait, 30)
        stack.callback(actuator.terminate)
        victim = _Client(rig, 1, "/system.slice/train-llama.service", stack)
        attacker = _Client(rig, 65534, "/user.slice/user-65534.slice/session-9.scope", stack)
        slot = plant.attach_process(_GPU, attacker.pid, memory_b=1 << 30)
        stack.callback(plant.detach_process, _GPU, slot)
        known = [_RENDEZVOUS, *(str(workload["name"]) for workload in rig.node.workloads())]
        names = [*known, *(f"job:uid-1:{name}" for name in known), "+".join(known[1:]), "(others)", ""]
        original = [(plant.truth(gpu).locked_mhz, plant.truth(gpu).power_limit_mw) for gpu in range(plant.count)]
        began_s, turn = time.monotonic(), 0
        while (age_s := time.monotonic() - began_s) < rig.seconds:
            victim.report(_RENDEZVOUS, 0, age_s)
            attacker.report(names[turn // 8 % len(names)] if turn % 2 else _RENDEZVOUS, 1, age_s)
            attacker.ask("POST", "/v1/dvfs", {"sm_clock_max_mhz": 210, "power_limit_w": 200, "ttl_s": 60})
            status = attacker.ask("GET", "/v1/dvfs")
            seen |= {device["uuid"] for device in status.get("devices", ())}
            for gpu in range(plant.count):
                if (plant.truth(gpu).locked_mhz, plant.truth(gpu).power_limit_mw) != original[gpu]:
                    (own if gpu == _GPU else moved).add(gpu)
            turn += 1
            time.sleep(0.2)
        reason = victim.ask("GET", "/v1/dvfs").get("reason", "")
        rig.require("no GPU of another owner is set", not moved)
        rig.require("the attacker's own GPU is set, so requests work at all", bool(own))
        rig.require("the attacker reads its own GPU only", seen <= {plant.uuid(_GPU)})
        rig.require("the victim's job stays one over several nodes", "2 ranks, 1 of them here" in reason)
    rig.figures |= {"GPUs of others that were set": sorted(moved), "reports and requests": turn, "GPUs read": len(seen)}
    rig.figures["victim's status"] = reason


SPEC = Attack(
    name="foreign_job",
    summary="a user joins another tenant's training job by its name and requests settings for it",
    run=run,
    configuration=configuration,
    needs_root=True,
)
