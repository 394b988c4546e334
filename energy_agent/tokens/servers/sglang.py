"""SGLang: names of the scheduler's live counters and of the tokenizer's counters at the end of a request."""

from energy_agent.tokens.server_spec import Name, TokenServer

_LIVE = "sglang:realtime_tokens_total"

SPEC = TokenServer(
    summary="SGLang",
    checked="0.5.23: response written by its own metric classes",
    moves="step",
    model_label="model_name",
    engine_labels=("dp_rank",),
    # Every pipeline stage counts, and with metrics for all schedulers every tensor-parallel rank too.
    copies=("pp_rank", "tp_rank", "moe_ep_rank"),
    prompt=(
        Name(_LIVE, "current versions", {"mode": ("prefill_compute", "prefill_cache")}),
        Name("sglang:prompt_tokens_total"),
    ),
    cached=(Name(_LIVE, "current versions", {"mode": ("prefill_cache",)}), Name("sglang:cached_tokens_total")),
    computed=(Name(_LIVE, "current versions", {"mode": ("prefill_compute",)}),),
    generation=(Name(_LIVE, "current versions", {"mode": ("decode",)}), Name("sglang:generation_tokens_total")),
    requests=(Name("sglang:num_requests_total"),),
    steps=(Name("sglang:cuda_graph_passes_total"),),
    aborted=(Name("sglang:num_aborted_requests_total"),),
    running=(Name("sglang:num_running_reqs"),),
    waiting=(Name("sglang:num_queue_reqs"),),
    ttft=(Name("sglang:time_to_first_token_seconds"),),
    itl=(
        Name("sglang:inter_token_latency_seconds"),
        Name("sglang:time_per_output_token_seconds", "older versions"),
    ),
    prompt_per_request=(Name("sglang:prompt_tokens_histogram"),),
    computed_per_request=(Name("sglang:uncached_prompt_tokens_histogram", "current versions"),),
    generation_per_request=(Name("sglang:generation_tokens_histogram"),),
    note="Requires `--enable-metrics`, and for tokens per request `--collect-tokens-histogram`. `generation_tokens_total` "
    "advances only when a request ends, so it is read only if "
    "the live counter is missing. The live counter excludes the first token of a request, which is produced with the "
    "prompt. A prompt that is recomputed after a retraction counts again, as its energy does. "
    "Draft tokens are gauges of the last batches and cannot be summed.",
)
