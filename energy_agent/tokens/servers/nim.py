"""NVIDIA NIM for LLMs: metric names."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="NVIDIA NIM for LLMs",
    checked="its documentation (Observability, 2026-11); unverified on a server",
    moves="step",
    model_label="model_name",
    prompt=(Name("prompt_tokens_total"),),
    generation=(Name("generation_tokens_total"),),
    requests=(Name("request_success_total"), Name("request_finish_total", "other versions")),
    running=(Name("num_requests_running"),),
    waiting=(Name("num_requests_waiting"),),
    ttft=(Name("time_to_first_token_seconds"),),
    itl=(Name("time_per_output_token_seconds"),),
    note="The metrics endpoint is `/v1/metrics`. It does not report cached prompt tokens. A NIM whose "
    "response has `vllm:` names is server `vllm`.",
)
