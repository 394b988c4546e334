"""What every workload process shares: its spec, its slots on the GPUs, work and rest in plant time, its state file, its end.

A workload ends when SIGTERM asks it to, when its parent is gone, or when a GPU of its is lost, as a real job would.
"""

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.plant_abi import DeviceLostError, PlantError

GPU_LOST = 3  # exit code
_SLICE_S = 0.1  # real time between two looks at whether to end
_REPORT_S = 0.25  # real time between two writes of the state file


class WorkloadStop(Exception):  # noqa: N818 - not an error: the daemon requested the end of the workload
    """Time to go."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The settings that the node's daemon gives a workload, as JSON in a file."""

    name: str
    plant: str
    state: str
    gpus: tuple[int, ...]
    skus: tuple[str, ...]  # of these GPUs
    memory_b: int  # on each
    seed: int
    parent: int  # pid of the daemon: without it the workload ends
    parameters: dict[str, Any]  # the workload's part of the scenario


def write_json(path: Path, data: object) -> None:
    """Replace `path` in one step, so that no reader sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(data))
    temporary.replace(path)


class WorkloadWorker:
    """This process on its GPUs."""

    def __init__(self, spec: Spec, plant: Plant) -> None:
        self.spec = spec
        self.plant = plant
        self.random = Random(spec.seed)
        self.started_ns = plant.now_ns()
        self._slots: dict[int, int] = {}
        self._ending = False
        self._reported_s = -math.inf
        self._counters: dict[str, object] = {}

    def attach(self) -> None:
        """Enter this process into the process table of each of its GPUs."""
        for gpu in self.spec.gpus:
            self._slots[gpu] = self.plant.attach_process(gpu, os.getpid(), memory_b=self.spec.memory_b)

    def detach(self) -> None:
        """Leave the GPUs."""
        for gpu, slot in self._slots.items():
            with contextlib.suppress(DeviceLostError):  # it has forgotten this process already
                self.plant.detach_process(gpu, slot)
        self._slots.clear()

    def queue(self, gpu: int, reference_s: float, memory_boundness: float, intensity: float) -> int:
        """Queue work on one GPU and return its ticket, a number that `done_ns` reaches."""
        slot, reference_ns = self._slots[gpu], round(reference_s * NS_PER_S)
        return self.plant.submit(gpu, slot, reference_ns=reference_ns, memory_boundness=memory_boundness, intensity=intensity)

    def done_ns(self, gpu: int) -> int:
        """Work that this process has done on one GPU."""
        return self.plant.done_ns(gpu, self._slots[gpu])

    def work(self, reference_s: float, memory_boundness: float, intensity: float = 1.0) -> None:
        """Do work that takes `reference_s` at the reference clock on every GPU, and wait for the slowest."""
        self.check()
        reference_ns = max(1, round(reference_s * NS_PER_S))
        tickets = [
            (
                gpu,
                slot,
                self.plant.submit(gpu, slot, reference_ns=reference_ns, memory_boundness=memory_boundness, intensity=intensity),
            )
            for gpu, slot in self._slots.items()
        ]
        for gpu, slot, ticket in tickets:
            while self.plant.done_ns(gpu, slot) < ticket:
                self.check()
                self._wait_a_little(gpu, slot, ticket)

    def _wait_a_little(self, gpu: int, slot: int, ticket: int) -> None:
        try:
            self.plant.wait(gpu, slot, ticket, _SLICE_S * self.plant.rate)
        except DeviceLostError:
            raise
        except PlantError:
            return  # not done yet

    def rest(self, seconds: float) -> None:
        """Let `seconds` of plant time pass without work."""
        end_ns = self.plant.now_ns() + round(seconds * NS_PER_S)
        if self.plant.manual:
            self.plant.advance_to(end_ns)
        while (left_ns := end_ns - self.plant.now_ns()) > 0:
            self.check()
            time.sleep(min(_SLICE_S, left_ns / NS_PER_S / self.plant.rate))

    def elapsed_s(self) -> float:
        """Plant time since this workload started."""
        return (self.plant.now_ns() - self.started_ns) / NS_PER_S

    def check(self) -> None:
        """Raise WorkloadStop when it is time to go."""
        if self._ending or os.getppid() != self.spec.parent:
            raise WorkloadStop

    def report(self, **counters: object) -> None:
        """Write the state file: the first time at once, then at most a few times a second."""
        self._counters = counters
        if time.monotonic() - self._reported_s >= _REPORT_S:
            self.flush()

    def flush(self) -> None:
        """Write the last report now."""
        self._reported_s = time.monotonic()
        state = {
            "name": self.spec.name,
            "pid": os.getpid(),
            "started_ns": self.started_ns,
            "updated_ns": self.plant.now_ns(),
            **self._counters,
        }
        write_json(Path(self.spec.state), state)

    def end(self, _signal: int, _frame: FrameType | None) -> None:
        """Signal handler: end at the next look."""
        self._ending = True


def main(run: Callable[[WorkloadWorker], None]) -> int:
    """Body of every workload program: read the spec, attach, run, clean up; returns the exit code."""
    parser = argparse.ArgumentParser(description="A workload of the simulated node; started by its daemon.")
    parser.add_argument("--spec", required=True, metavar="FILE")
    raw = json.loads(Path(parser.parse_args().spec).read_text())
    spec = Spec(**{**raw, "gpus": tuple(raw["gpus"]), "skus": tuple(raw["skus"])})
    plant = Plant.attach(Path(spec.plant))
    worker = WorkloadWorker(spec, plant)
    signal.signal(signal.SIGTERM, worker.end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the daemon decides about Ctrl-C
    try:
        worker.attach()
        run(worker)
    except WorkloadStop:
        return 0
    except DeviceLostError as error:
        sys.stderr.write(f"{spec.name}: {error}\n")
        return GPU_LOST
    except WattlensError as error:
        sys.stderr.write(f"{spec.name}: {error}\n")
        return error.exit_code
    finally:
        worker.flush()
        worker.detach()
        plant.close()
    return 0
