"""A permitted client of the actuator sends it what no client of ours sends, on a node whose training job is steered."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.hostile.rig import Attack, Rig
from dvfs.actuator.client import ActuatorClient, ActuatorError
from energy_agent.sim.gpu.plant import Plant

_STEERED = range(4)
_FREE = 7
_WITHIN_S = 30.0
_EMOJI = "\N{GRINNING FACE}"


def configuration(folder: Path) -> Mapping[str, Any]:
    """The four GPUs of the training job at a fixed clock."""
    group = {"name": "train", "devices": [str(gpu) for gpu in _STEERED]}
    return {"dvfs": {"mode": "enforce", "policy": "static", "actuator": str(folder / "a.sock"), "groups": [group]}}


def _frames(uuid: str) -> list[bytes]:
    """Bytes to send, one connection each; `uuid` is a GPU that nobody steers."""

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


def _until(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + _WITHIN_S
    while not condition():
        if time.monotonic() > end_s:
            raise RuntimeError(f"within {_WITHIN_S:g} s there was no {what}")
        time.sleep(0.1)


def _locks(plant: Plant) -> list[tuple[int, int]]:
    return [plant.truth(gpu).locked_mhz for gpu in _STEERED]


def run(rig: Rig) -> None:
    """Send each of them over and over; the job's clock may not move, and the worker may not change."""
    socket_path = rig.folder / "a.sock"
    (rig.folder / "actuator.yaml").write_text("allow: [{devices: all, knobs: [clock], baseline: unlocked}]\n")
    places = ["--socket", socket_path, "--state", rig.folder / "actuator", "--simulate", rig.node.directory]
    command = [sys.executable, "-m", "wattlens", "actuator", "--config", rig.folder / "actuator.yaml", *places]

    def worker() -> int:
        with ActuatorClient(socket_path) as client:
            return int(client.hello()["pid"])

    with rig.node.plant() as plant, ExitStack() as stack:
        found = _locks(plant)
        actuator = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(actuator.wait, 30)
        stack.callback(actuator.terminate)
        _until(lambda: all(now != was for now, was in zip(_locks(plant), found, strict=True)), "steered job")
        steered, before, moved, unanswered, sent = _locks(plant), worker(), 0, 0, 0
        frames, end_s = _frames(plant.uuid(_FREE)), time.monotonic() + rig.seconds
        while time.monotonic() < end_s:
            with socket.socket(socket.AF_UNIX) as attacker:
                attacker.settimeout(0.2)
                try:
                    attacker.connect(str(socket_path))
                    attacker.sendall(frames[sent % len(frames)])
                    attacker.recv(65536)
                except OSError:
                    pass  # hung up on, or left without an answer, as half a message is
            sent += 1
            moved += _locks(plant) != steered
            if not sent % len(frames):
                try:
                    with ActuatorClient(socket_path) as client:
                        client.status()
                        client.history(0)
                except ActuatorError:
                    unanswered += 1
        rig.require("the job's clocks stay as they were set", not moved)
        rig.require("the worker is the one that it was", worker() == before)
        rig.require("others are answered", not unanswered)
    rig.figures |= {"messages": sent, "looks at which a clock had moved": moved, "others left unanswered": unanswered}


SPEC = Attack(
    name="actuator_messages",
    summary="a permitted client sends the actuator messages that no client of ours sends",
    run=run,
    configuration=configuration,
)
