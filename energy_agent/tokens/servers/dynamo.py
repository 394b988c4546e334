"""NVIDIA Dynamo's frontend: metric names with the default prefix. The engines behind it have endpoints of their own."""

from energy_agent.tokens.server_spec import Name, TokenServer

_P = "dynamo_frontend_"

SPEC = TokenServer(
    summary="the frontend of NVIDIA Dynamo",
    checked="1.6.1: running with its simulated engines, tokens as in its answers",
    moves="step",
    model_label="model",
    prompt=(Name(f"{_P}input_sequence_tokens_sum"),),
    cached=(Name(f"{_P}cached_tokens_sum"),),
    generation=(Name(f"{_P}output_tokens_total"), Name(f"{_P}output_sequence_tokens_sum", "older versions")),
    requests=(Name(f"{_P}requests_total"),),
    aborted=(Name(f"{_P}requests_total", where={"status": ("error",)}),),
    running=(Name(f"{_P}active_requests", "current versions"), Name(f"{_P}inflight_requests")),
    waiting=(Name(f"{_P}queued_requests"),),
    ttft=(Name(f"{_P}time_to_first_token_seconds"),),
    itl=(Name(f"{_P}inter_token_latency_seconds"),),
    prompt_per_request=(Name(f"{_P}input_sequence_tokens"),),
    generation_per_request=(Name(f"{_P}output_sequence_tokens"),),
    note="Configure either the frontend or the engines behind it: both count the same tokens. If `DYN_METRICS_PREFIX` is "
    "set, use `mapping`. Running requests include waiting requests. Cached tokens are counted after the prompt, so computed "
    "ones may be ahead by the cached ones of running requests, which the next requests make up for.",
)
