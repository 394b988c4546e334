"""The engine's counters as a metrics page in vLLM's names and form (as of vLLM 0.33), so that readers of vLLM read it. Pure.

Interface names are vLLM's (Apache-2.0); what stands behind them is the simulated engine.
"""

from collections.abc import Mapping

from energy_agent.sim.workloads.engine import BatchingEngine, Histogram


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
