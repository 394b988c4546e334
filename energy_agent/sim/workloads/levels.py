"""Random levels of power, one after the other without a pause: what a sensor that averages or samples has to resolve."""

import math
import sys
from random import Random

from energy_agent.sim.workloads.worker import WorkloadWorker, main

_AHEAD = 6  # levels that wait on each GPU; the plant keeps 8
_LOOK_S = 0.02


def run(worker: WorkloadWorker) -> None:
    """Keep levels queued on every GPU until asked to end."""
    p = worker.spec.parameters
    gpus = worker.spec.gpus
    draws = {gpu: Random(f"{worker.spec.seed}/{gpus[0] if p['in_step'] else gpu}") for gpu in gpus}
    waiting: dict[int, list[int]] = {gpu: [] for gpu in gpus}
    levels = 0
    while True:
        worker.report(kind="levels", steps=levels, work_units=levels)
        done_ns = {gpu: worker.done_ns(gpu) for gpu in gpus}
        for gpu, draw in draws.items():
            waiting[gpu] = [ticket for ticket in waiting[gpu] if ticket > done_ns[gpu]]
            while len(waiting[gpu]) < _AHEAD:
                hold_s = math.exp(draw.uniform(math.log(p["hold_min_s"]), math.log(p["hold_max_s"])))
                intensity = draw.uniform(p["intensity_min"], p["intensity_max"])
                waiting[gpu].append(worker.queue(gpu, hold_s, p["memory_boundness"], intensity))
                levels += gpu == gpus[0]
        worker.rest(_LOOK_S)


if __name__ == "__main__":
    sys.exit(main(run))
