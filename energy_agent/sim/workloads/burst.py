"""Load that comes and goes: work for a while, rest for a while; what sensors that see a part of the time find hardest."""

import sys

from energy_agent.sim.workloads.worker import WorkloadWorker, main


def run(worker: WorkloadWorker) -> None:
    """Alternate work and rest until asked to end."""
    p = worker.spec.parameters
    bursts = 0
    while True:
        worker.report(kind="burst", steps=bursts, work_units=bursts)
        worker.work(_draw_duration(worker, p["on_s"], p["jitter"]), p["memory_boundness"], p["intensity"])
        bursts += 1
        worker.rest(_draw_duration(worker, p["off_s"], p["jitter"]))


def _draw_duration(worker: WorkloadWorker, seconds: float, jitter: float) -> float:
    return seconds * worker.random.uniform(1.0 - jitter, 1.0 + jitter)


if __name__ == "__main__":
    sys.exit(main(run))
