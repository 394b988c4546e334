"""The process behind a simulated node: makes the plant, keeps its time moving, runs the workloads and the timeline of faults.

`python -m energy_agent.sim.daemon --dir DIR`, where DIR holds `scenario.yaml`. It writes what runs to `node.json`, and ends on
SIGTERM. When it is killed, its workloads notice that and end by themselves.
"""

import argparse
import fcntl
import os
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.parent import end_with_parent
from energy_agent.sim import roots, scenario
from energy_agent.sim.cluster.pods import Pods
from energy_agent.sim.gpu import faults
from energy_agent.sim.gpu.build import SONAME, library_path
from energy_agent.sim.gpu.fault_log import FaultLog
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.supervisor import Supervisor, python_command, python_environ
from energy_agent.sim.workloads.worker import write_json

if TYPE_CHECKING:
    from energy_agent.sim.building.building import BuildingSimulator
    from energy_agent.sim.cluster.cluster import SimulatedCluster
    from energy_agent.sim.host.meters import HostMeters

_PERIOD_S = 0.2  # real time; a reader that comes between two visits has at most this to catch up


class Daemon:
    """One node, from start to stop."""

    def __init__(self, directory: Path) -> None:
        """Make the plant.

        Raises:
            UsageError: a node already runs in `directory`, or its scenario is wrong.
        """
        self.directory = directory
        self._lock = _lock(directory)
        self.scenario = scenario.load(str(directory / "scenario.yaml"))
        (directory / "sys").mkdir(exist_ok=True)
        (directory / "proc").mkdir(exist_ok=True)
        _install(directory)
        start = self.scenario.start
        self.plant = Plant.create(
            directory / "plant",
            self.scenario.board_specs(),
            seed=self.scenario.seed,
            rate=self.scenario.rate,
            start_utc_ns=None if start is None else round(start.timestamp()) * NS_PER_S,
        )
        self.started_ns = self.plant.now_ns()
        self.supervisor = Supervisor(self.scenario, directory)
        self.fault_log = FaultLog(directory / "faults.jsonl")
        self._stop = False
        self.meters = self._start_host_meters()
        self.pods = Pods(self.scenario, self.supervisor.jobs, self.plant.uuid)
        self.kubernetes = self._start_kubernetes()
        self.building = self._build()

    def run(self) -> None:
        """Until SIGTERM."""
        events = self.scenario.fault_events()
        seen_ns, ready, written = -1, False, None
        try:
            while not self._stop:
                for gpu in range(self.plant.count):
                    self.plant.truth(gpu)
                elapsed_ns = self.plant.now_ns() - self.started_ns
                for event in faults.due(events, seen_ns, elapsed_ns):
                    self._play(event)
                seen_ns = elapsed_ns
                if self.kubernetes is not None:  # a pod is given its GPUs before its first process starts
                    self.kubernetes.show(self.pods.at(elapsed_ns))
                self.supervisor.tick(elapsed_ns)
                roots.forget_ended(self.directory)
                ready = ready or self.supervisor.ready()
                state = self._describe(ready)
                if state != written:
                    write_json(self.directory / "node.json", state)
                    written = state
                time.sleep(_PERIOD_S if ready else _PERIOD_S / 4)
        finally:
            self.supervisor.stop()
            write_json(self.directory / "node.json", self._describe(ready=False) | {"pid": None})
            if self.meters is not None:
                self.meters.stop()
            if self.building is not None:
                self.building.stop()
            if self.kubernetes is not None:
                self.kubernetes.stop()
            self.plant.close()

    # A node has few of these parts, and each brings servers that take longer to import than the rest of the daemon.
    def _start_host_meters(self) -> "HostMeters | None":
        if self.scenario.host is None:
            return None
        from energy_agent.sim.host.meters import HostMeters

        return HostMeters(self.directory, self.plant, self.scenario.host)

    def _start_kubernetes(self) -> "SimulatedCluster | None":
        if self.scenario.kubelet is None:
            return None
        from energy_agent.sim.cluster.cluster import SimulatedCluster

        return SimulatedCluster.start(self.directory, self.scenario.kubelet, self.scenario.seed)

    def _build(self) -> "BuildingSimulator | None":
        if self.scenario.facility is None:
            return None
        from energy_agent.sim.building.building import BuildingSimulator

        return BuildingSimulator(self.directory, self.plant, self.scenario, self.started_ns)

    def _play(self, event: faults.FaultEvent) -> None:
        try:
            self.fault_log.apply(self.plant, event)
        except WattlensError as error:  # a GPU full of faults takes no more; the node goes on
            sys.stderr.write(f"gpu{event.gpu}: {event.kind or 'clear'}: {error}\n")

    def end(self, _signal: int, _frame: FrameType | None) -> None:
        """Signal handler: end at the next look."""
        self._stop = True

    def _describe(self, ready: bool) -> dict[str, object]:
        return {
            "pid": os.getpid(),
            "start_ticks": roots.start_ticks(os.getpid()),
            "ready": ready,
            "started_ns": self.started_ns,
            "rate": self.scenario.rate,
            "seed": self.scenario.seed,
            "workloads": self.supervisor.describe(),
            **({"host": self.meters.describe()} if self.meters is not None else {}),
            **({"facility": self.building.describe()} if self.building is not None else {}),
        }


def _install(directory: Path) -> None:
    """What NVML clients find in the node: the library, and an `nvidia-smi`, by which some look for GPUs."""
    for folder in ("lib", "bin"):
        (directory / folder).mkdir(exist_ok=True)
    library = directory / "lib" / SONAME
    library.unlink(missing_ok=True)
    shutil.copyfile(library_path(), library)  # not a link: clients in another container share this folder, not the cache
    source = shlex.quote(python_environ()["PYTHONPATH"])
    command = shlex.join(python_command("energy_agent.sim.gpu.nvidia_smi"))
    tool = directory / "bin" / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\nPYTHONPATH={source} exec {command} "$@"\n')
    tool.chmod(0o700)


def _lock(directory: Path) -> int:
    """Held while the daemon lives, whatever ends it."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise UsageError(f"a simulated node already runs in {directory}") from None
    return fd


def main() -> int:
    """Body of the program."""
    parser = argparse.ArgumentParser(description="The simulated node's daemon; started by 'wattlens sim start'.")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--companion-of", type=int, metavar="PID", help="end when this process, the parent, dies")
    args = parser.parse_args()
    try:
        daemon = Daemon(args.dir.resolve())
        signal.signal(signal.SIGTERM, daemon.end)
        signal.signal(signal.SIGINT, daemon.end)
        if args.companion_of is not None:
            end_with_parent()
            if os.getppid() != args.companion_of:
                return 1
        daemon.run()
    except WattlensError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
