"""An LLM server: requests arrive, the engine's steps run on the GPUs, and a real `/metrics` endpoint reports them.

Requests are those that the scenario draws, and those that clients send over HTTP.

The endpoint has the engine's counters in vLLM's names and form (as of vLLM 0.33), so that readers of vLLM read it. These names
are vLLM's (Apache-2.0); the engine behind them is simulated.
"""

import json
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.threads import start_thread
from energy_agent.sim.workloads import arrivals, models
from energy_agent.sim.workloads.completions import BODY_LIMIT_B, CompletionApi, CompletionError, CompletionResponse
from energy_agent.sim.workloads.engine import BatchingEngine, Histogram, SimulatedRequest
from energy_agent.sim.workloads.worker import WorkloadWorker, main

# Steps of a few ms are joined until they last about this long in real time: a process cannot act much faster than that.
QUANTUM_S = 0.02
_REST_S = 1.0
_REST_FOR_CLIENTS_S = 0.02


def render(engine: BatchingEngine, model: str, started_s: float) -> str:
    """The page in Prometheus text format; `started_s` is UTC s at which the counters began."""
    model_name = _escape(model)
    labels = f'engine="0",model_name="{model_name}"'
    counters = engine.counters
    lines: list[str] = []

    def single(name: str, kind: str, text: str, value: float) -> None:
        sample = f"{name}_total" if kind == "counter" else name
        lines.extend((f"# HELP {sample} {text}", f"# TYPE {sample} {kind}", f"{sample}{{{labels}}} {float(value)!r}"))
        if kind == "counter":
            created = f"{name}_created"
            lines.extend((f"# HELP {created} {text}", f"# TYPE {created} gauge", f"{created}{{{labels}}} {started_s!r}"))

    def split(name: str, text: str, label: str, values: Mapping[str, int]) -> None:
        for part, kind in (("total", "counter"), ("created", "gauge")):
            lines.extend((f"# HELP {name}_{part} {text}", f"# TYPE {name}_{part} {kind}"))
            for key, value in values.items():
                number = repr(float(value)) if part == "total" else repr(started_s)
                lines.append(f'{name}_{part}{{engine="0",{label}="{key}",model_name="{model_name}"}} {number}')

    def histogram(name: str, text: str, values: Histogram) -> None:
        lines.extend((f"# HELP {name} {text}", f"# TYPE {name} histogram"))
        total = 0
        for bound, count in zip((*map(str, values.buckets), "+Inf"), values.counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {float(total)!r}')
        lines.extend((f"{name}_count{{{labels}}} {float(total)!r}", f"{name}_sum{{{labels}}} {values.sum!r}"))

    single("vllm:num_requests_running", "gauge", "Requests in the running batch.", len(engine.running))
    single("vllm:num_requests_waiting", "gauge", "Waiting requests.", len(engine.waiting))
    single("vllm:kv_cache_usage_perc", "gauge", "Used share of the KV cache, 1 is all.", engine.kv_usage_ratio)
    single("vllm:num_preemptions", "counter", "Preemptions by the engine.", counters.preemptions)
    single("vllm:prompt_tokens", "counter", "Prefill tokens processed.", counters.prompt)
    sources = {
        "local_compute": counters.prompt - counters.cached,
        "local_cache_hit": counters.cached,
        "external_kv_transfer": 0,
    }
    split("vllm:prompt_tokens_by_source", "Prompt tokens by source.", "source", sources)
    single("vllm:prompt_tokens_cached", "counter", "Prompt tokens found in the cache.", counters.cached)
    single("vllm:generation_tokens", "counter", "Generation tokens processed.", counters.generation)
    reasons = {"stop": counters.finished, "length": 0, "abort": 0, "error": 0, "repetition": 0}
    split("vllm:request_success", "Requests processed to their end.", "finished_reason", reasons)
    histogram("vllm:iteration_tokens_total", "Tokens per engine step.", counters.iterations)
    histogram("vllm:time_to_first_token_seconds", "Time to first token in seconds.", counters.ttft)
    histogram("vllm:inter_token_latency_seconds", "Inter-token latency in seconds.", counters.itl)
    histogram("vllm:request_time_per_output_token_seconds", "Mean time per output token of a request.", counters.tpot)
    histogram("vllm:request_prompt_tokens", "Prefill tokens of a request.", counters.prompts)
    histogram(
        "vllm:request_prefill_kv_computed_tokens", "Prefill tokens of a request without cached ones.", counters.computed_prompts
    )
    histogram("vllm:request_generation_tokens", "Generation tokens of a request.", counters.outputs)
    histogram("vllm:e2e_request_latency_seconds", "End-to-end request latency in seconds.", counters.e2e)
    return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


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
