"""A user who was given a cgroup directory names cgroups below it like another workload's, and asks the agent who it is."""

import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.hostile.rig import Attack, Rig
from benchmarks.hostile.socket_clients import configuration as with_socket

_ATTACKER = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.stdin.readline()
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"GET /v1/me HTTP/1.1\\r\\nHost: agent\\r\\n\\r\\n")
answer = b""
while data := client.recv(65536):
    answer += data
print(answer.partition(b"\\r\\n\\r\\n")[2].decode(), flush=True)
"""


def configuration(folder: Path) -> Mapping[str, Any]:
    """A socket that every user reaches."""
    return with_socket(folder)


def run(rig: Rig) -> None:
    """Try every workload of the node as a name, in a real cgroup that belongs to uid 65534."""
    root = next((p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (p / "cgroup.procs").is_file()), None)
    victims = {str(workload["cgroup"]): str(workload["name"]) for workload in rig.node.workloads()}
    pod = "/kubepods/burstable/pod3c5e1d52-8b1f-4c1e-9a57-0f6d2b7e4a11"
    if root is None:
        rig.figures["skipped"] = "no cgroup v2 on this machine"
        return
    names: list[str] = []
    paths = [
        *victims,
        pod,
        f"{pod}/{'ab' * 32}",
        "/system.slice/slurmstepd.scope/job_4711/step_0",
        "/user@1.service/train.service",
        "/user.slice/user-1.slice/user@1.service/app.slice/train.service",
        f"/user@0.service/libpod-{'ab' * 32}.scope",
    ]
    end_s = time.monotonic() + rig.seconds
    for cgroup in itertools.cycle(paths):
        if time.monotonic() > end_s:
            break
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
            command = [sys.executable, "-I", "-c", _ATTACKER, str(rig.folder / "agent.sock")]
            attacker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                (folder / "cgroup.procs").write_text(str(attacker.pid))
                answer, _ = attacker.communicate("\n", timeout=30)
            finally:
                attacker.kill()
                attacker.wait()
            me = json.loads(answer)
            names.append(me["workload"])
            rig.require(f"a name below a delegated directory is not {cgroup}", me["kind"] == "process")
    kinds = sorted({name.partition("-")[0] for name in names})
    rig.figures["attempts, and what the agent took the user for"] = [len(names), kinds]


SPEC = Attack(
    name="cgroup_names",
    summary="a user with a cgroup directory of its own names cgroups like other workloads",
    run=run,
    configuration=configuration,
    needs_root=True,
)
