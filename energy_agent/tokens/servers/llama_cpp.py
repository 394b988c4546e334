"""llama.cpp's server: metric names. The response names no model."""

from energy_agent.tokens.server_spec import Name, TokenServer

SPEC = TokenServer(
    summary="llama.cpp's llama-server",
    checked="build 10434: response of a running server",
    moves="request",
    # What it calls prompt tokens are those that were computed.
    cached=(Name("llamacpp:prompt_tokens_cached_total", "2026 and later"),),
    computed=(Name("llamacpp:prompt_tokens_total"),),
    generation=(Name("llamacpp:tokens_predicted_total"),),
    steps=(Name("llamacpp:n_decode_total"),),
    drafts=(Name("llamacpp:spec_decode_num_draft_tokens_total"),),
    accepted=(Name("llamacpp:spec_decode_num_accepted_tokens_total"),),
    running=(Name("llamacpp:requests_processing"),),
    waiting=(Name("llamacpp:requests_deferred"),),
    note="Requires `--metrics`. The configuration must name the model. No histograms and no request counter.",
)
