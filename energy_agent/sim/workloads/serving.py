"""An LLM server: requests arrive, the engine's steps run on the GPUs, and a real `/metrics` endpoint reports them.

Requests are those that the scenario draws, and those that clients send over HTTP.
"""

import json
import math
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.threads import start_thread
from energy_agent.sim.workloads import arrivals, models
from energy_agent.sim.workloads.completions import BODY_LIMIT_B, CompletionApi, CompletionError, CompletionResponse
from energy_agent.sim.workloads.engine import BatchingEngine, SimulatedRequest
from energy_agent.sim.workloads.metrics_page import render
from energy_agent.sim.workloads.worker import WorkloadWorker, main

# Steps of a few ms are joined until they last about this long in real time: a process cannot act much faster than that.
QUANTUM_S = 0.02
_REST_S = 1.0
_REST_FOR_CLIENTS_S = 0.02


def run(worker: WorkloadWorker) -> None:
    """Serve until asked to end."""
    p = worker.spec.parameters
    engine = make_engine(worker, p)
    lock = threading.Lock()  # the page is rendered between two steps, never within one

    def page() -> str:
        with lock:
            return render(engine, p["model"], worker.started_ns / NS_PER_S)

    api = CompletionApi(engine, lock, p["model"], p["prefix_cached_ratio"], worker.plant.now_ns)
    server = _serve(page, api, p["metrics_port"])
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    try:
        _loop(worker, engine, lock, url, _requests(worker, p))
    finally:
        server.shutdown()
        server.server_close()


def make_engine(worker: WorkloadWorker, p: dict[str, Any]) -> BatchingEngine:
    """The engine for this model on these boards."""
    spec = worker.spec
    return BatchingEngine(
        models.step_cost(p["model"], spec.skus),
        max_num_seqs=p["max_num_seqs"],
        max_batched_tokens=p["max_batched_tokens"],
        kv_tokens=p["kv_tokens"] or models.kv_tokens(p["model"], spec.memory_b, len(spec.gpus)),
        decode_memory_boundness=p["decode_memory_boundness"],
        prefill_memory_boundness=p["prefill_memory_boundness"],
    )


def _requests(worker: WorkloadWorker, p: dict[str, Any]) -> Iterator[arrivals.Arrival]:
    if p["arrivals"] == "none":
        return iter([arrivals.Arrival(math.inf, 1, 1)])
    if p["arrivals"] == "trace":
        return arrivals.trace(Path(p["trace"]))
    lengths = arrivals.Lengths(p["prompt_median"], p["prompt_sigma"], p["output_median"], p["output_sigma"])
    draw = arrivals.bursty if p["arrivals"] == "bursty" else arrivals.poisson
    return draw(worker.random, p["rate_per_s"], lengths)


def _loop(
    worker: WorkloadWorker, engine: BatchingEngine, lock: threading.Lock, url: str, requests: Iterator[arrivals.Arrival]
) -> None:
    cached_ratio = worker.spec.parameters["prefix_cached_ratio"]
    is_for_clients = worker.spec.parameters["arrivals"] == "none"
    rest_s = _REST_FOR_CLIENTS_S * worker.plant.rate if is_for_clients else _REST_S
    coming = next(requests)
    while True:
        _report(worker, engine, url)
        with lock:
            while coming.at_s <= worker.elapsed_s():
                arrived_ns = worker.started_ns + round(coming.at_s * NS_PER_S)
                cached = round(coming.prompt * cached_ratio)
                engine.arrive(SimulatedRequest(arrived_ns, coming.prompt, coming.output, cached))
                coming = next(requests)
            repeats = int(QUANTUM_S * worker.plant.rate / engine.cost.decode_s(max(1, len(engine.running))))
            step = engine.plan(max(1, repeats))
        if step is None:
            worker.rest(min(coming.at_s - worker.elapsed_s(), rest_s))
        else:
            worker.work(step.reference_s, step.memory_boundness, step.intensity)
            with lock:
                engine.finish(step, worker.plant.now_ns())


def _report(worker: WorkloadWorker, engine: BatchingEngine, url: str) -> None:
    counters = engine.counters
    worker.report(
        kind="serving",
        steps=counters.steps,
        work_units=counters.generation,
        prompt_tokens=counters.prompt,
        generation_tokens=counters.generation,
        requests_finished=counters.finished,
        requests_running=len(engine.running),
        requests_waiting=len(engine.waiting),
        metrics_url=url,
    )


def _serve(page: Callable[[], str], api: CompletionApi, port: int) -> ThreadingHTTPServer:
    class EngineHandler(BaseHTTPRequestHandler):
        """GET /metrics and /v1/models, POST /v1/chat/completions and /v1/completions."""

        timeout = 5.0

        def do_GET(self) -> None:
            """Answer with the metrics or the model."""
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._send(CompletionResponse("text/plain; version=0.0.4; charset=utf-8", page().encode()))
                case "/v1/models":
                    self._send(api.models())
                case _:
                    self.send_error(404)

        def do_POST(self) -> None:
            """Answer when the engine has finished the request."""
            if self.path not in ("/v1/chat/completions", "/v1/completions"):
                self.send_error(404)
                return
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > BODY_LIMIT_B:
                self.send_error(413)
                return
            try:
                self._send(api.complete(self.rfile.read(int(length)), is_chat="chat" in self.path))
            except CompletionError as error:
                body = json.dumps({"error": {"message": str(error), "code": error.status}}).encode()
                self._send(CompletionResponse("application/json", body), error.status)

        def _send(self, response: CompletionResponse, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_args: object) -> None:
            """A scrape is not news."""

    server = ThreadingHTTPServer(("127.0.0.1", port), EngineHandler)
    server.daemon_threads = True
    start_thread(threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True))
    return server


if __name__ == "__main__":
    sys.exit(main(run))
