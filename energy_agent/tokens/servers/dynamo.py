"""NVIDIA Dynamo's frontend: metric names with the default prefix. The engines behind it have endpoints of their own."""

from energy_agent.tokens.server_spec import Name, TokenServer

_P = "dynamo_frontend_"

SPEC = TokenServer(
    summary="the frontend of NVIDIA Dynamo",
    checked="1.6.1: the names in its Python package",
    moves="step",
    model_label="model",
    prompt=(Name(f"{_P}input_sequence_tokens_sum"),),
    cached=(Name(f"{_P}cached_tokens_sum"),),
    generation=(Name(f"{_P}output_tokens_total"), Name(f"{_P}output_sequence_tokens_sum", "older ones")),
    requests=(Name(f"{_P}requests_total"),),
    running=(Name(f"{_P}active_requests", "current ones"), Name(f"{_P}inflight_requests")),
    waiting=(Name(f"{_P}queued_requests"),),
    ttft=(Name(f"{_P}time_to_first_token_seconds"),),
    itl=(Name(f"{_P}inter_token_latency_seconds"),),
    note="Give either the frontend or the engines behind it: both count the same tokens. Where `DYN_METRICS_PREFIX` is set "
    "use `mapping`. Requests that wait are part of those that run.",
)
