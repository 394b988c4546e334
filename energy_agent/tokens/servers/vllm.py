"""vLLM: metric names. A deprecated name is hidden after one minor release and removed after two, so older names are listed."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="vLLM",
    checked="0.32.0: running on a CPU, tokens as in its answers",
    moves="step",
    model_label="model_name",
    engine_labels=("engine",),
    prompt=(Name("vllm:prompt_tokens_total"),),
    cached=(
        Name("vllm:prompt_tokens_cached_total", "current versions"),
        # Servers without a count of cached prompt tokens count them as hits of the prefix cache.
        Name("vllm:prefix_cache_hits_total", "older versions"),
        Name("vllm:gpu_prefix_cache_hits_total", "still older versions"),
    ),
    computed=(Name("vllm:prompt_tokens_by_source_total", "current versions", {"source": ("local_compute",)}),),
    generation=(Name("vllm:generation_tokens_total"),),
    requests=(Name("vllm:request_success_total"),),
    steps=(Name("vllm:iteration_tokens_total_count"),),
    drafts=(Name("vllm:spec_decode_num_draft_tokens_total"),),
    accepted=(Name("vllm:spec_decode_num_accepted_tokens_total"),),
    running=(Name("vllm:num_requests_running"),),
    waiting=(
        # Deferred requests wait for the KV cache from another server, a grammar or an adapter, not for the GPU.
        Name("vllm:num_requests_waiting_by_reason", "current versions", {"reason": ("capacity",)}),
        Name("vllm:num_requests_waiting", "older versions"),
    ),
    ttft=(Name("vllm:time_to_first_token_seconds"),),
    itl=(
        Name("vllm:inter_token_latency_seconds", "from 0.11 on"),
        Name("vllm:time_per_output_token_seconds", "up to 0.12"),
    ),
    tpot=(Name("vllm:request_time_per_output_token_seconds"),),
    prompt_per_request=(Name("vllm:request_prompt_tokens"),),
    computed_per_request=(Name("vllm:request_prefill_kv_computed_tokens", "current versions"),),
    generation_per_request=(Name("vllm:request_generation_tokens"),),
    started=(Name("vllm:generation_tokens_created"),),
    # Not read: request_success_total{finished_reason="abort"}, which stays 0 when clients cancel (vLLM issues 31503, 55634).
    note="Enabled by default. With several API servers the counters are sums over them and have no start time. Requests that "
    "clients cancel are in no request counter, so their number is not available.",
)
