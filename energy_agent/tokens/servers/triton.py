"""Triton with the TensorRT-LLM backend: metric names."""

from energy_agent.tokens.server_spec import Name, TokenServer

_INPUT = {"response_metric_type": ("total_input_tokens",)}
_OUTPUT = {"response_metric_type": ("total_output_tokens",)}

SPEC = TokenServer(
    summary="Triton Inference Server with the TensorRT-LLM backend",
    checked="2.51.0: running on a CPU, its model sets metrics as the backend's source does; unverified with the backend",
    moves="request",
    model_label="model",
    prompt=(Name("nv_llm_input_token_len_sum", where=_INPUT),),
    generation=(Name("nv_llm_output_token_len_sum", where=_OUTPUT),),
    # nv_inference_request_success counts a request of a decoupled model when it begins, and again in each ensemble around it.
    requests=(Name("nv_llm_output_token_len_count", where=_OUTPUT),),
    # "waiting" is the difference to "scheduled", which keeps the last batch at idle: it can fall below 0.
    running=(Name("nv_trt_llm_request_metrics", where={"request_type": ("active",)}),),
    prompt_per_request=(Name("nv_llm_input_token_len", where=_INPUT),),
    generation_per_request=(Name("nv_llm_output_token_len", where=_OUTPUT),),
    note="The metrics endpoint is `:8002/metrics`. It names the model of the repository, such as `tensorrt_llm`: set `model` "
    "to the name of the weights. Running requests include waiting requests. The backend's model `llmapi` has no token metrics. "
    "Triton's vLLM backend has the names of server `vllm`.",
)
