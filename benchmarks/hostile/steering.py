"""Clients of steering: messages that our own clients never send, and a user who joins another tenant's job by its name."""

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.hostile.rig import Rig, attack
from benchmarks.hostile.sockets import UserClient, open_socket
from benchmarks.runner import Row
from benchmarks.running import running_role
from dvfs.actuator.client import ActuatorClient, ActuatorError
from tests.support import eventually

_STEERED = range(4)
_FREE = 7
_EMOJI = "\N{GRINNING FACE}"
_RENDEZVOUS = "10.1.2.3:29500"


def _start_actuator(rig: Rig, stack: ExitStack, knobs: str) -> Path:
    """Start the actuator; its socket."""
    (rig.folder / "actuator.yaml").write_text(f"allow: [{{devices: all, knobs: [{knobs}], baseline: unlocked}}]\n")
    places = ["--socket", rig.folder / "a.sock", "--simulate", rig.node.directory]
    stack.enter_context(running_role("actuator", rig.folder, *places))
    return rig.folder / "a.sock"


def _frames(uuid: str) -> list[bytes]:
    """Bytes to send, one connection each; `uuid` is a GPU that is not steered."""

    def message(text: str, op: str = "acquire") -> bytes:
        body = f'{{"v": 1, "id": 1, "op": "{op}", {text}}}'.encode()
        return len(body).to_bytes(4, "big") + body

    acquire = f'"devices": ["{uuid}"]'
    named = message(f'"name": "{_EMOJI * 64}"', "hello")
    return [
        message(f'{acquire}, "ttl_s": {"9" * 400}'),
        message(f'{acquire}, "ttl_s": 1e999'),
        message(f'{acquire}, "ttl_s": NaN'),
        message(f'{acquire}, "ttl_s": -1'),
        message(f'"devices": ["{_EMOJI * 600}"]'),
        message(f'"devices": [{", ".join(json.dumps(f"GPU-{n}") for n in range(200))}]'),
        message('"devices": {"a": [' + "[" * 500 + "]" * 500 + "]}"),
        message('"lease": "\\ud800"', "release"),
        message('"lease": "x", "device": 7, "setting": []', "set"),
        message(f'"after": {"9" * 300}', "history"),
        message('"after": -1', "history"),
        message('"offset": "0"', "status"),
        named + message(f'{acquire}, "ttl_s": 5') + message('"offset": 0', "status") + message('"after": 0', "history"),
        message('"a": ' + "[" * 1900 + "]" * 1900),
        message('"x": 1', _EMOJI),
        b"\xff\xff\xff\xff" + b"x" * 1000,
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x10\x00half of a message",
        b"GET / HTTP/1.1\r\n\r\n",
    ]


def _static(folder: Path) -> Row:
    """The four GPUs of the training job at a fixed clock."""
    group = {"name": "train", "devices": [str(gpu) for gpu in _STEERED]}
    return {"dvfs": {"mode": "enforce", "policy": "static", "actuator": str(folder / "a.sock"), "groups": [group]}}


@attack("a permitted client sends the actuator messages that no client of ours sends", _static)
def actuator_messages(rig: Rig) -> None:
    """Send each of them over and over; the job's clock may not move, and the worker may not change."""

    def worker() -> int:
        with ActuatorClient(path) as client:
            return int(client.hello()["pid"])

    with rig.node.plant() as plant, ExitStack() as stack:

        def locks() -> list[tuple[int, int]]:
            return [plant.truth(gpu).locked_mhz for gpu in _STEERED]

        original_clocks = locks()
        path = _start_actuator(rig, stack, "clock")
        eventually(lambda: all(now != was for now, was in zip(locks(), original_clocks, strict=True)))
        steered, before, moved, unanswered, sent = locks(), worker(), 0, 0, 0
        frames, end_s = _frames(plant.uuid(_FREE)), time.monotonic() + rig.seconds
        while time.monotonic() < end_s:
            with socket.socket(socket.AF_UNIX) as attacker:
                attacker.settimeout(0.2)
                try:
                    attacker.connect(str(path))
                    attacker.sendall(frames[sent % len(frames)])
                    attacker.recv(65536)
                except OSError:
                    pass  # hung up on, or left without an answer, as half a message is
            sent += 1
            moved += locks() != steered
            if not sent % len(frames):
                try:
                    with ActuatorClient(path) as client:
                        client.status()
                        client.history(0)
                except ActuatorError:
                    unanswered += 1
        rig.require("the job's clocks stay as they were set", not moved)
        rig.require("the worker is the one that it was", worker() == before)
        rig.require("others are answered", not unanswered)
    rig.figures |= {"messages": sent, "looks at which a clock had moved": moved, "others left unanswered": unanswered}


def _automatic(folder: Path) -> Row:
    """Steering as the documentation enables it, with a socket that every user reaches."""
    steering = {"mode": "enforce", "auto_groups": True, "actuator": str(folder / "a.sock")}
    return open_socket(folder) | {"holders": {"period_s": 1}, "dvfs": steering}


@attack("a user joins another tenant's training job by its name and requests settings for it", _automatic, needs_root=True)
def foreign_job(rig: Rig) -> None:
    """Join every job of the node by its name, and check all GPUs except the attacker's own.

    The victim, in the unit of the training job on GPUs 0 to 3, reports rank 0 of 2: a job over several nodes, which is not
    steered. The attacker, uid 65534 on GPU 7, reports rank 1 of the same rendezvous and of every other name it can think of.
    """
    moved, read_uuids, own_gpus = set(), set(), set()
    with rig.node.plant() as plant, ExitStack() as stack:
        _start_actuator(rig, stack, "clock, power")
        victim = UserClient(rig, 1, stack, "/system.slice/train-llama.service")
        attacker = UserClient(rig, 65534, stack, "/user.slice/user-65534.slice/session-9.scope")
        slot = plant.attach_process(_FREE, attacker.pid, memory_b=1 << 30)
        stack.callback(plant.detach_process, _FREE, slot)
        job_names = [_RENDEZVOUS, *(str(workload["name"]) for workload in rig.node.workloads())]
        names = [*job_names, *(f"job:uid-1:{name}" for name in job_names), "+".join(job_names[1:]), "(others)", ""]
        original = [(plant.truth(gpu).locked_mhz, plant.truth(gpu).power_limit_mw) for gpu in range(plant.count)]
        began_s, turn = time.monotonic(), 0
        while (age_s := time.monotonic() - began_s) < rig.seconds:
            _report(victim, _RENDEZVOUS, 0, age_s)
            _report(attacker, names[turn // 8 % len(names)] if turn % 2 else _RENDEZVOUS, 1, age_s)
            attacker.ask("POST", "/v1/dvfs", {"sm_clock_max_mhz": 210, "power_limit_w": 200, "ttl_s": 60})
            status = attacker.ask("GET", "/v1/dvfs")
            read_uuids |= {device["uuid"] for device in status.get("devices", ())}
            for gpu in range(plant.count):
                if (plant.truth(gpu).locked_mhz, plant.truth(gpu).power_limit_mw) != original[gpu]:
                    (own_gpus if gpu == _FREE else moved).add(gpu)
            turn += 1
            time.sleep(0.2)
        reason = victim.ask("GET", "/v1/dvfs").get("reason", "")
        rig.require("no GPU of another owner is set", not moved)
        rig.require("the attacker's own GPU is set, so requests work at all", bool(own_gpus))
        rig.require("the attacker reads its own GPU only", read_uuids <= {plant.uuid(_FREE)})
        rig.require("the victim's job stays one over several nodes", "2 ranks, 1 of them here" in reason)
    rig.figures |= {"GPUs of others that were set": sorted(moved), "reports and requests": turn, "GPUs read": len(read_uuids)}
    rig.figures["victim's status"] = reason


def _report(client: UserClient, group: str, rank: int, age_s: float) -> None:
    """Report training as one of two ranks."""
    body = {"run": f"{client.pid:016x}", "age_s": age_s, "steps": {"training": int(2 * age_s)}, "step_age_s": 0.1}
    client.ask("POST", "/v1/training", body | {"group": group, "rank": rank, "world": 2})
