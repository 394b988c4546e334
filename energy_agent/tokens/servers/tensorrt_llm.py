"""TensorRT-LLM's `trtllm-serve`: metric names."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="TensorRT-LLM's trtllm-serve",
    checked="source code of commit 050f80d, whose metric definitions wrote a response; unverified on a server",
    moves="request",
    model_label="model_name",
    copies=("rank",),
    prompt=(Name("trtllm_prompt_tokens_total"),),
    cached=(Name("trtllm_prompt_cached_tokens_total"),),
    generation=(Name("trtllm_generation_tokens_total"),),
    requests=(Name("trtllm_request_success_total"),),
    # Its two counters with spec_decode_num_ in their name add, for each request that ends, the last step alone.
    drafts=(Name("trtllm_spec_decode_drafted_tokens_total"),),
    accepted=(Name("trtllm_spec_decode_accepted_tokens_total"),),
    running=(Name("trtllm_scheduled_batch_size", "the newest versions"), Name("trtllm_num_requests_running")),
    waiting=(Name("trtllm_num_requests_waiting"),),
    ttft=(Name("trtllm_time_to_first_token_seconds"),),
    tpot=(Name("trtllm_time_per_output_token_seconds"),),
    note="Requires version 1.3.0rc12 and `return_perf_metrics: true`. The metrics endpoint is `/prometheus/metrics`; "
    "`/metrics` is JSON. Waiting requests require `enable_iter_perf_stats: true` and change when a request ends. The "
    "time per output token is the mean of each request: there are no times between two tokens. A stream that its "
    "client closes is not counted, neither as a request nor by its tokens.",
)
