"""Starts a node's workloads when they are due, sees them end, starts again those that should be, and ends them all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import energy_agent
from energy_agent.core.units import NS_PER_S
from energy_agent.sim import roots
from energy_agent.sim.workloads.worker import Spec, write_json

if TYPE_CHECKING:
    from energy_agent.sim.scenario import Scenario
    from energy_agent.sim.scenario_model import Workload

_RESTART_S = 3.0  # real time between a failure and the next try
_STOP_S = 3.0  # real time a workload has between SIGTERM and SIGKILL
_STATE_LIMIT_B = 64 * 1024


@dataclass(slots=True)
class WorkloadProcess:
    """One workload of the scenario and its process, if any."""

    workload: "Workload"
    cgroup: str
    process: subprocess.Popen[bytes] | None = None
    ticks: int | None = None
    phase: str = "waiting"  # waiting | running | ended | failed
    exit_code: int | None = None
    retry_at_s: float = 0.0
    restarts: int = 0


def python_command(module: str, *arguments: str) -> list[str]:
    """Run one of our modules as a program; `-P` keeps the current folder from shadowing anything."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environ() -> dict[str, str]:
    """The environment with this package importable, installed or not."""
    source = str(Path(energy_agent.__file__).parents[1])
    paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def read_state(directory: Path, name: str) -> dict[str, Any]:
    """The counters that workload `name` wrote last, {} before the first time."""
    try:
        with (directory / "workloads" / f"{name}.json").open("rb") as file:
            state = json.loads(file.read(_STATE_LIMIT_B))
    except FileNotFoundError:
        return {}
    return state if isinstance(state, dict) else {}


class Supervisor:
    """All workloads of one node."""

    def __init__(self, scenario: "Scenario", directory: Path) -> None:
        self.directory = directory
        self.scenario = scenario
        self.jobs = [WorkloadProcess(w, roots.cgroup_path(w.name, w.cgroup, scenario.seed)) for w in scenario.workloads]
        (directory / "workloads").mkdir(exist_ok=True)

    def tick(self, elapsed_ns: int) -> bool:
        """Start, stop and reap what is due `elapsed_ns` of plant time after the start; True when anything changed."""
        changed = False
        for job in self.jobs:
            if job.process is not None and job.process.poll() is not None:
                self._ended(job, job.process.returncode)
                changed = True
            elif job.process is not None and self._over(job, elapsed_ns):
                job.process.terminate()
            elif job.process is None and self._due(job, elapsed_ns):
                self._start(job)
                changed = True
        return changed

    def ready(self) -> bool:
        """Every workload that has begun shows its counters, a server its address too."""
        return all(job.phase != "running" or bool(read_state(self.directory, job.workload.name)) for job in self.jobs)

    def describe(self) -> list[dict[str, object]]:
        """Workloads for node.json."""
        return [
            {
                "name": job.workload.name,
                "kind": job.workload.kind,
                "pid": job.process.pid if job.process else None,
                "start_ticks": job.ticks,
                "gpus": list(job.workload.gpus),
                "cgroup": job.cgroup,
                "phase": job.phase,
                "exit_code": job.exit_code,
                "restarts": job.restarts,
                "metrics_url": read_state(self.directory, job.workload.name).get("metrics_url") if job.process else None,
            }
            for job in self.jobs
        ]

    def stop(self) -> None:
        """End every workload, politely and then not."""
        living = [job for job in self.jobs if job.process is not None]
        for job in living:
            assert job.process is not None
            job.process.terminate()
        end_s = time.monotonic() + _STOP_S
        for job in living:
            assert job.process is not None
            try:
                job.process.wait(max(0.0, end_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                job.process.kill()
                job.process.wait()
            self._ended(job, job.process.returncode)

    def _due(self, job: WorkloadProcess, elapsed_ns: int) -> bool:
        if self._over(job, elapsed_ns):
            return False
        if job.phase == "waiting":
            return elapsed_ns >= job.workload.start_s * NS_PER_S
        return job.phase == "failed" and job.workload.restart == "on-failure" and time.monotonic() >= job.retry_at_s

    @staticmethod
    def _over(job: WorkloadProcess, elapsed_ns: int) -> bool:
        return job.workload.end_s is not None and elapsed_ns >= job.workload.end_s * NS_PER_S

    def _start(self, job: WorkloadProcess) -> None:
        workload, folder = job.workload, self.directory / "workloads"
        state = folder / f"{workload.name}.json"
        state.unlink(missing_ok=True)
        seed = hashlib.sha256(f"{self.scenario.seed}/{workload.name}/{job.restarts}".encode()).digest()
        spec = Spec(
            name=workload.name,
            plant=str(self.directory / "plant"),
            state=str(state),
            gpus=workload.gpus,
            skus=tuple(self.scenario.skus[g] for g in workload.gpus),
            memory_b=workload.memory_b,
            seed=int.from_bytes(seed[:8], "big"),
            parent=os.getpid(),
            parameters=workload.model_dump(mode="json"),
        )
        spec_file = folder / f"{workload.name}.spec.json"
        write_json(spec_file, asdict(spec))
        with (folder / f"{workload.name}.log").open("ab") as log:
            job.process = subprocess.Popen(
                python_command(f"energy_agent.sim.workloads.{workload.kind}", "--spec", str(spec_file)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=python_environ(),
            )
        job.ticks, job.phase, job.exit_code = roots.start_ticks(job.process.pid), "running", None
        roots.add_process(self.directory, job.process.pid, job.cgroup)

    def _ended(self, job: WorkloadProcess, code: int) -> None:
        assert job.process is not None
        roots.remove_process(self.directory, job.process.pid)
        asked = code in (0, -signal.SIGTERM)
        job.process, job.ticks, job.exit_code = None, None, code
        job.phase = "ended" if asked else "failed"
        if not asked:
            job.restarts += 1
            job.retry_at_s = time.monotonic() + _RESTART_S
