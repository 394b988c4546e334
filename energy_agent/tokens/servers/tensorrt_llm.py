"""TensorRT-LLM's `trtllm-serve`: metric names."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="TensorRT-LLM's trtllm-serve",
    checked="source code of commit 050f80d",
    moves="request",
    model_label="model_name",
    prompt=(Name("trtllm_prompt_tokens_total"),),
    cached=(Name("trtllm_prompt_cached_tokens_total"),),
    generation=(Name("trtllm_generation_tokens_total"),),
    requests=(Name("trtllm_request_success_total"),),
    running=(Name("trtllm_num_requests_running"),),
    waiting=(Name("trtllm_num_requests_waiting"),),
    ttft=(Name("trtllm_time_to_first_token_seconds"),),
    itl=(Name("trtllm_time_per_output_token_seconds"),),
    note="The metrics endpoint is `/prometheus/metrics`. Running and waiting requests require `enable_iter_perf_stats`.",
)
