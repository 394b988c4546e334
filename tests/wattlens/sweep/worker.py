"""A job on a simulated GPU with a metrics page that counts its steps: python -m tests.wattlens.sweep.worker PORT GPU."""

import os
import signal
import sys
import threading
from pathlib import Path

from energy_agent.sim import roots
from energy_agent.sim.gpu.plant import Plant
from tests.doubles.page_server import PageServer

STEP_NS = 200_000_000
BOUNDNESS = 0.5


def main(port: int, gpu: int) -> None:
    steps, ending = [0], threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    PageServer(lambda: f"# TYPE job_steps_total counter\njob_steps_total {steps[0]}\n".encode(), port)
    node = Path(os.environ["WATTLENS_SIM"])
    roots.add_process(node, os.getpid(), roots.cgroup_path("job", "docker", 1))
    with Plant.attach(node / "plant") as plant:
        slot = plant.attach_process(gpu, os.getpid(), memory_b=1 << 30)
        while not ending.is_set():
            ticket = plant.submit(gpu, slot, reference_ns=STEP_NS, memory_boundness=BOUNDNESS)
            plant.wait(gpu, slot, ticket, 5.0)
            steps[0] += 1
        plant.detach_process(gpu, slot)
    roots.remove_process(node, os.getpid())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
