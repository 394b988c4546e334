"""A job on a simulated GPU with a metrics page that counts its steps: python -m tests.wattlens.sweep.worker PORT GPU."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from energy_agent.sim import roots
from energy_agent.sim.gpu.plant import Plant

STEP_NS = 200_000_000
BOUNDNESS = 0.5


def main(port: int, gpu: int) -> None:
    steps, ending = [0], threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"# TYPE job_steps_total counter\njob_steps_total {steps[0]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
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
