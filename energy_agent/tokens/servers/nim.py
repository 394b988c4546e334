"""NVIDIA NIM for LLMs: metric names."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="NVIDIA NIM for LLMs",
    checked="responses of two running NIMs, published by Datadog (2024-10) and NVIDIA (2026-04); documentation (2026-11)",
    moves="step",
    model_label="model_name",
    prompt=(Name("prompt_tokens_total"),),
    generation=(Name("generation_tokens_total"),),
    requests=(Name("request_finish_total"), Name("request_success_total", "versions without the first")),
    aborted=(Name("request_failure_total"),),
    running=(Name("num_requests_running"),),
    waiting=(Name("num_requests_waiting"),),
    ttft=(Name("time_to_first_token_seconds"),),
    itl=(Name("time_per_output_token_seconds"),),
    prompt_per_request=(Name("request_prompt_tokens"),),
    generation_per_request=(Name("request_generation_tokens"),),
    note="The metrics endpoint is `/v1/metrics`. It does not report cached prompt tokens. A NIM whose "
    "response has `vllm:` or `sglang:` names, as NIM 2 with these engines, is server `vllm` or `sglang`.",
)
