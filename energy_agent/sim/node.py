"""The simulated node from outside: start it, attach to it, run NVML clients on it, look at its truth, stop it.

A node is a folder (0700) with everything in it; `WATTLENS_SIM` names it:

    plant           shared memory of the GPUs           node.json       what runs: pids, cgroups, metrics addresses
    lib/, bin/      libnvidia-ml.so.1, nvidia-smi       scenario.yaml   what it was started from
    proc/, sys/     the injected roots                  faults.jsonl    faults set and cleared
    workloads/      NAME.json counters, NAME.log        facility.json   truth of the building, see building/site.py
    daemon.log                                          meter-faults.jsonl
"""

import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml.driver_epoch import LOADS_OFFSET
from energy_agent.sim import roots, supervisor
from energy_agent.sim.gpu.build import SONAME, library_path
from energy_agent.sim.gpu.fault_log import FaultLog
from energy_agent.sim.gpu.faults import FaultEvent
from energy_agent.sim.gpu.plant import Plant

if TYPE_CHECKING:
    from energy_agent.sim.scenario import Scenario

_STATE_LIMIT_B = 1024 * 1024
_LOADS = struct.Struct("=q")
_MARKER = ".wattlens-sim"  # what makes a folder a node's, so that nothing else is ever emptied
_OURS = ("plant", "node.json", "scenario.yaml", "faults.jsonl", "daemon.log", "proc", "sys", "lib", "bin", "workloads",
         "redfish-user", "redfish-password", "redfish-fault", "kubelet.sock", "kubelet-fault", "kube-api", "facility.json",
         "meter-faults.jsonl", "pod-logs")  # fmt: skip


def default_directory() -> Path:
    """Where this user's node lives when nobody says otherwise: in $XDG_RUNTIME_DIR, else in the folder for temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and Path(runtime).is_dir():
        return Path(runtime) / "wattlens-sim"
    return Path(tempfile.gettempdir()) / f"wattlens-sim-{os.getuid()}"


class SimulatedNode:
    """A node that runs, or ran, in `directory`. As a context manager it is stopped at the end."""

    def __init__(self, directory: Path, daemon: subprocess.Popen[bytes] | None = None) -> None:
        """Use `start` or `attach`."""
        self.directory = directory
        self._daemon = daemon

    @classmethod
    def start(
        cls,
        what: "Scenario | str",
        directory: Path | None = None,
        *,
        seed: int | None = None,
        rate: float | None = None,
        timeout_s: float = 60.0,
        companion: bool = False,
    ) -> Self:
        """Start a scenario (or the one of this name or path) in `directory`, and wait until its first workloads run.

        A `companion` ends when the calling process dies, however it dies.

        Raises:
            UsageError: wrong scenario, a node already runs there, or the folder holds something else.
            WattlensError: the node did not come up; nothing of it is left running.
        """
        from energy_agent.sim import scenario  # attaching to a node reads no scenario

        wanted = scenario.load(what) if isinstance(what, str) else what
        wanted = scenario.override(wanted, seed=seed, rate=rate)
        library_path()  # built here, so that a missing compiler is reported here
        folder = _prepare((directory or default_directory()).absolute())
        (folder / "scenario.yaml").write_text(scenario.dump(wanted))
        with (folder / "daemon.log").open("wb") as log:
            daemon = subprocess.Popen(
                supervisor.python_command(
                    "energy_agent.sim.daemon",
                    "--dir",
                    str(folder),
                    *(["--companion-of", str(os.getpid())] if companion else []),
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=supervisor.python_environ(),
                start_new_session=True,
            )
        node = cls(folder, daemon)
        try:
            node._await_ready(timeout_s)
        except BaseException:
            node.stop()
            raise
        return node

    @classmethod
    def attach(cls, directory: Path | None = None) -> Self:
        """The node that runs in `directory`.

        Raises:
            UsageError: none runs there.
        """
        node = cls((directory or default_directory()).absolute())
        if not node.running:
            raise UsageError(f"no simulated node runs in {node.directory}; start one with 'wattlens sim start'")
        return node

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def plant_path(self) -> Path:
        """The plant's file, for `Plant.attach` and `SimulatedClock`."""
        return self.directory / "plant"

    @property
    def running(self) -> bool:
        """Its daemon lives."""
        state = self.state()
        pid, ticks = state.get("pid"), state.get("start_ticks")
        return isinstance(pid, int) and ticks is not None and roots.start_ticks(pid) == ticks

    def state(self) -> dict[str, Any]:
        """The content of `node.json`, {} if the file is missing."""
        try:
            with (self.directory / "node.json").open("rb") as file:
                state = json.loads(file.read(_STATE_LIMIT_B))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
            raise UsageError(f"{self.directory / 'node.json'} cannot be read: {reason}") from error
        return state if isinstance(state, dict) else {}

    @property
    def nvml_library(self) -> Path:
        """For a process that is already running: its loader does not read a later LD_LIBRARY_PATH."""
        return self.directory / "lib" / SONAME

    def environ(self) -> dict[str, str]:
        """What an NVML client needs in its environment to see this node instead of the machine's GPUs."""

        def first(folder: str, name: str, default: str = "") -> str:
            others = filter(None, os.environ.get(name, default).split(os.pathsep))
            return os.pathsep.join(dict.fromkeys([str(self.directory / folder), *others]))

        return {
            "WATTLENS_SIM": str(self.directory),
            "LD_LIBRARY_PATH": first("lib", "LD_LIBRARY_PATH"),
            "PATH": first("bin", "PATH", os.defpath),
        }

    def run(self, command: Sequence[str], *, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run an NVML client on this node and return what it said.

        Raises:
            UsageError: the program is not there.
            WattlensError: it did not end within `timeout_s`; it was killed.
        """
        try:
            return subprocess.run(
                list(command), env=os.environ | self.environ(), capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except FileNotFoundError as error:
            raise UsageError(f"program {command[0]!r} not found") from error
        except subprocess.TimeoutExpired as error:
            raise WattlensError(f"{command[0]!r} did not end within {timeout_s:g} s") from error

    def plant(self) -> Plant:
        """The plant, attached; close it after use."""
        return Plant.attach(self.plant_path)

    def workloads(self) -> list[dict[str, Any]]:
        """The workloads of node.json (name, kind, pid, gpus, cgroup, phase, metrics_url), their counters under `counters`."""
        workloads: list[dict[str, Any]] = self.state().get("workloads", [])
        return [w | {"counters": supervisor.read_state(self.directory, w["name"])} for w in workloads]

    def workload(self, name: str) -> dict[str, Any]:
        """One of `workloads`.

        Raises:
            UsageError: the node has none of this name.
        """
        by_name = {w["name"]: w for w in self.workloads()}
        if name not in by_name:
            raise UsageError(f"unknown workload {name!r} on this node; available: {', '.join(by_name) or 'none'}")
        return by_name[name]

    def fault(self, gpu: int, kind: str, *, call: str = "", value: int = 0) -> None:
        """Set a fault; see `faults.KINDS`."""
        with self.plant() as plant:
            FaultLog(self.directory / "faults.jsonl").set(plant, FaultEvent(self._elapsed_ns(plant), gpu, kind, call, value))

    def clear(self, gpu: int, kind: str = "") -> None:
        """Clear a kind of fault on a GPU, or all of them (and those of the node)."""
        with self.plant() as plant:
            FaultLog(self.directory / "faults.jsonl").clear(plant, FaultEvent(self._elapsed_ns(plant), gpu, kind, clear=True))

    def faults(self) -> list[FaultEvent]:
        """The faults that are set."""
        return FaultLog(self.directory / "faults.jsonl").active()

    def stop(self, timeout_s: float = 8.0) -> None:
        """End the daemon and its workloads: asked first, killed after `timeout_s`. Files stay for a look at them."""
        state = self.state()
        if self._daemon is not None:
            _end_child(self._daemon, timeout_s)
        elif roots.signal_process(state.get("pid") or 0, state.get("start_ticks"), signal.SIGTERM):
            _await_end([(state["pid"], state["start_ticks"])], timeout_s)
            roots.signal_process(state["pid"], state["start_ticks"], signal.SIGKILL)
        # Only what a daemon that was killed has left behind, by the very processes it had started.
        orphans = [(w["pid"], w["start_ticks"]) for w in self.state().get("workloads", []) if w.get("pid")]
        _await_end(orphans, 2.0)
        for pid, ticks in orphans:
            roots.signal_process(pid, ticks, signal.SIGKILL)

    def _elapsed_ns(self, plant: Plant) -> int:
        return plant.now_ns() - int(self.state().get("started_ns", plant.now_ns()))

    def _await_ready(self, timeout_s: float) -> None:
        assert self._daemon is not None
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            if self._daemon.poll() is not None:
                lines = (self.directory / "daemon.log").read_text(errors="replace").strip().splitlines()
                raise WattlensError(f"the simulated node did not start: {lines[-1] if lines else 'its daemon exited'}")
            state = self.state()
            if state.get("pid") == self._daemon.pid and state.get("ready"):
                return
            time.sleep(0.03)
        raise WattlensError(f"the simulated node was not ready within {timeout_s:g} s; see {self.directory / 'daemon.log'}")


def elapsed_s(state: Mapping[str, Any], plant: Plant) -> float:
    """Plant time since the node started, in s."""
    return (plant.now_ns() - int(state["started_ns"])) / NS_PER_S


def _prepare(folder: Path) -> Path:
    """Make the folder ours and empty of an earlier node; never touch a folder that holds anything else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
        names = {p.name for p in folder.iterdir()}
    except OSError as error:
        raise UsageError(
            f"cannot use {folder} for the simulated node: {error.strerror}; choose another folder with --dir"
        ) from error
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o022:
        raise UsageError(
            f"{folder}: expected a folder that you own and that only you can write; choose another folder with --dir"
        )
    if names and _MARKER not in names:
        raise UsageError(f"{folder} is not empty and does not contain a simulated node; choose another folder with --dir")
    if SimulatedNode(folder).running:
        raise UsageError(f"a simulated node already runs in {folder}; stop it with 'wattlens sim stop --dir {folder}'")
    _unload(folder / "plant")
    for name in _OURS:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (folder / _MARKER).touch()
    return folder


def _unload(plant: Path) -> None:
    """End the driver of an earlier node, so that its clients look for the new one: they map the old plant, which goes on.

    Its count of loads alone is moved on. To bring the plant to the present first would take seconds for each day since.
    """
    with suppress(OSError), plant.open("r+b") as file:
        plant.unlink()  # first, so that none finds the old one again
        loads = os.pread(file.fileno(), _LOADS.size, LOADS_OFFSET)
        if len(loads) == _LOADS.size:
            os.pwrite(file.fileno(), _LOADS.pack(_LOADS.unpack(loads)[0] + 2), LOADS_OFFSET)


def _end_child(daemon: subprocess.Popen[bytes], timeout_s: float) -> None:
    if daemon.poll() is not None:
        return
    daemon.terminate()
    try:
        daemon.wait(timeout_s)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _await_end(processes: Sequence[tuple[int, int]], timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s and any(roots.start_ticks(pid) == ticks for pid, ticks in processes):
        time.sleep(0.03)
