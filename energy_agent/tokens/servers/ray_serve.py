"""Ray Serve LLM: vLLM's names as Ray's metrics agent exports them, for all replicas of a node at one endpoint."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="vLLM in Ray Serve",
    checked="response of ray 2.60.0, written by the metric classes of vLLM 0.32.0 in two replicas",
    moves="step",
    model_label="model_name",
    # A replica that starts again is another worker, whose counters begin at 0.
    engine_labels=("WorkerId", "ReplicaId", "engine"),
    exact_sums=False,
    prompt=(Name("ray_vllm_prompt_tokens_total"),),
    cached=(Name("ray_vllm_prompt_tokens_cached_total"), Name("ray_vllm_prefix_cache_hits_total", "older versions")),
    computed=(Name("ray_vllm_prompt_tokens_by_source_total", "current versions", {"source": ("local_compute",)}),),
    generation=(Name("ray_vllm_generation_tokens_total"),),
    requests=(Name("ray_vllm_request_success_total"),),
    steps=(Name("ray_vllm_iteration_tokens_total_count"),),
    drafts=(Name("ray_vllm_spec_decode_num_draft_tokens_total"),),
    accepted=(Name("ray_vllm_spec_decode_num_accepted_tokens_total"),),
    running=(Name("ray_vllm_num_requests_running"),),
    waiting=(
        # Deferred requests wait for the KV cache from another server, a grammar or an adapter, not for the GPU.
        Name("ray_vllm_num_requests_waiting_by_reason", "current versions", {"reason": ("capacity",)}),
        Name("ray_vllm_num_requests_waiting", "older versions"),
    ),
    ttft=(Name("ray_vllm_time_to_first_token_seconds"),),
    itl=(
        Name("ray_vllm_inter_token_latency_seconds", "from vLLM 0.11 on"),
        Name("ray_vllm_time_per_output_token_seconds", "up to vLLM 0.12"),
    ),
    tpot=(Name("ray_vllm_request_time_per_output_token_seconds"),),
    prompt_per_request=(Name("ray_vllm_request_prompt_tokens"),),
    computed_per_request=(Name("ray_vllm_request_prefill_kv_computed_tokens", "current versions"),),
    generation_per_request=(Name("ray_vllm_request_generation_tokens"),),
    note="Configure the metrics endpoint of the node's Ray agent (`--metrics-export-port`), once per node: it covers all "
    "replicas. Ray publishes every few seconds, so set `period_s` to at least that period. Its sums of "
    "histograms are estimates from the middle of each bucket: mean latencies are rough, and no saving is proven by them.",
)
