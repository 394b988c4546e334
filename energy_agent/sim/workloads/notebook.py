"""A notebook somebody left open: it holds its GPU all the time and runs a cell now and then."""

import sys

from energy_agent.sim.workloads.worker import WorkloadWorker, main


def run(worker: WorkloadWorker) -> None:
    """Run a cell, then do nothing for a random while, until asked to end."""
    p = worker.spec.parameters
    cells = 0
    worker.report(kind="notebook", steps=cells, work_units=cells)
    while True:
        worker.rest(worker.random.expovariate(1.0 / p["every_s"]))
        worker.work(p["cell_s"], p["memory_boundness"], p["intensity"])
        cells += 1
        worker.report(kind="notebook", steps=cells, work_units=cells)


if __name__ == "__main__":
    sys.exit(main(run))
