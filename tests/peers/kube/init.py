"""The first process of a cluster: `python -m tests.peers.kube.init FOLDER`. It starts every component, and all end with it.

It enters a cgroup and mount, network, pid and cgroup namespaces of its own, in which the folders that Kubernetes writes are
below FOLDER and the kubelet's kernel settings are files: nothing of the machine changes. FOLDER/components.json names the
components; one that ends starts again, as the kubelet does until containerd listens.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

OWN_FOLDERS = {"lib": Path("/var/lib"), "run": Path("/run"), "log": Path("/var/log")}
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}  # fmt: skip
"""What the kubelet requires. It writes these settings where they differ, and they belong to the whole machine."""
NODE_IP, API_IP = "10.200.0.1", "10.96.0.1"
RESTART_DELAY_S = 0.5
_PR_SET_PDEATHSIG = 1
_MOUNT_FLAGS = ("rw", "ro", "xattr", "clone_children")


def controllers() -> dict[Path, str]:
    """Mount options of each cgroup v1 hierarchy, by its mount point."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind == "cgroup":
            words = [w for w in options.split(",") if w not in _MOUNT_FLAGS and not w.startswith("release_agent=")]
            mounts[Path(fields.split()[4])] = ",".join((["none"] if words[0].startswith("name=") else []) + words)
    return mounts


def cgroup(pid: int) -> str:
    """Name of the cgroup of a cluster, by the process that entered it first."""
    return f"wattlens-test-{pid}"


def enter(folder: Path) -> None:
    """Continue in a cgroup and namespaces of our own."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the cluster ends with the test, however that ends
    for hierarchy in controllers():
        cgroup_dir = hierarchy / cgroup(os.getpid())
        cgroup_dir.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):  # empty in a new cgroup, which then takes no process
            if (cgroup_dir / file).exists():
                (cgroup_dir / file).write_text((hierarchy / file).read_text())
        (cgroup_dir / "cgroup.procs").write_text(str(os.getpid()))
    namespaces = ["--mount", "--net", "--pid", "--cgroup", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"]
    command = [sys.executable, "-m", __spec__.name, str(folder), "inside"]
    os.execvp("unshare", ["unshare", *namespaces, *command])


def prepare(folder: Path) -> None:
    """Mounts and addresses of the node."""
    hierarchies = controllers()
    _run("mount", "-t", "tmpfs", "cgroups", "/sys/fs/cgroup")
    for hierarchy, options in hierarchies.items():
        hierarchy.mkdir(parents=True)
        _run("mount", "-t", "cgroup", "-o", options, "cgroup", hierarchy)
    for name, where in OWN_FOLDERS.items():
        (folder / name).mkdir(exist_ok=True)
        _run("mount", "--bind", folder / name, where)
        _run("mount", "--make-rshared", where)
    for number, (setting, value) in enumerate(KERNEL_SETTINGS.items()):
        (folder / f"setting-{number}").write_text(value + "\n")
        _run("mount", "--bind", folder / f"setting-{number}", f"/proc/sys/{setting}")
    _run("ip", "link", "set", "lo", "up")
    for address in (NODE_IP, API_IP):
        _run("ip", "address", "add", f"{address}/32", "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _run(*words: str | Path) -> None:
    subprocess.run(list(map(str, words)), check=True, timeout=30)


def supervise(folder: Path) -> None:
    """Start every component, and start those again that end; wait for processes that have lost their parent."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    components: dict[str, list[str]] = json.loads((folder / "components.json").read_text())
    # The objects are kept: of one that is dropped, subprocess itself waits for the process when it starts the next.
    running = {name: start(folder, name, command) for name, command in components.items()}
    while True:
        pid, _ = os.wait()
        for name in [name for name, process in running.items() if process.pid == pid]:
            time.sleep(RESTART_DELAY_S)
            running[name] = start(folder, name, components[name])


def start(folder: Path, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
    """Start a component, with its output in FOLDER/NAME.log."""
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if sys.argv[2:] == ["inside"]:
        prepare(where)
        supervise(where)
    else:
        enter(where)
