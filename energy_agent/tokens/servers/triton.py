"""Triton with the TensorRT-LLM backend: metric names."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="Triton Inference Server with the TensorRT-LLM backend",
    checked="source code of tensorrtllm_backend and of its tests; unverified on a server",
    moves="request",
    model_label="model",
    prompt=(Name("nv_llm_input_token_len_sum", where={"response_metric_type": ("total_input_tokens",)}),),
    generation=(Name("nv_llm_output_token_len_sum", where={"response_metric_type": ("total_output_tokens",)}),),
    requests=(Name("nv_llm_output_token_len_count", where={"response_metric_type": ("total_output_tokens",)}),),
    running=(Name("nv_trt_llm_request_metrics", where={"request_type": ("active",)}),),
    note="The metrics endpoint is `:8002/metrics`. It names the model of the repository, such as `tensorrt_llm`: set `model` "
    "to the name of the weights. Triton's vLLM backend has the names of server `vllm`.",
)
