"""vLLM's metrics page as token readings; the names and the versions that use them are all here.

Names as of vLLM 0.33. A deprecated name is hidden after one minor release and removed after two, so each value has a list of
names, the newest first, and the first one on the page wins.
"""

import math
from collections.abc import Mapping

from energy_agent.sources.tokens._reading import TokenPageError, TokenReading, TokenServer

_COUNTERS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("vllm:prompt_tokens_total",),
    "generation": ("vllm:generation_tokens_total",),
    # Servers without a count of cached prompt tokens count them as hits of the prefix cache.
    "cached": ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
    "ttft_count": ("vllm:time_to_first_token_seconds_count",),
    # Renamed in 0.11; the old name was removed in 0.13.
    "itl_count": ("vllm:inter_token_latency_seconds_count", "vllm:time_per_output_token_seconds_count"),
}
_SUMS: Mapping[str, tuple[str, ...]] = {
    "ttft_sum_s": ("vllm:time_to_first_token_seconds_sum",),
    "itl_sum_s": ("vllm:inter_token_latency_seconds_sum", "vllm:time_per_output_token_seconds_sum"),
}
_STARTED = "vllm:generation_tokens_created"
_NAMES = frozenset(name for names in (*_COUNTERS.values(), *_SUMS.values()) for name in names) | {_STARTED}

_MODELS_LIMIT = 64
_MODEL_NAME_LIMIT = 256
_COUNT_LIMIT = 2.0**53  # above it a float no longer counts every token


def read(page: str, t_ns: int) -> list[TokenReading]:
    """One reading per model on the page, summed over its engines, sorted by model.

    A value that is negative, not a number or past 2^53 is treated as not there: one bad series does not silence the others.

    Raises:
        TokenPageError: the page is not in Prometheus text format, has no vLLM series, or names too many models.
    """
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, dict[str, float]] = {}
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name not in _NAMES:
                    continue
                model = sample.labels.get("model_name", "")[:_MODEL_NAME_LIMIT]
                if model not in found and len(found) == _MODELS_LIMIT:
                    raise TokenPageError(f"metrics page names more than {_MODELS_LIMIT} models")
                values = found.setdefault(model, {})
                if sample.name == _STARTED:
                    values[_STARTED] = max(values.get(_STARTED, 0.0), sample.value)
                else:
                    values[sample.name] = values.get(sample.name, 0.0) + sample.value
    except (ValueError, IndexError, KeyError, TypeError) as error:  # what the parser lets through on malformed lines
        raise TokenPageError(f"metrics page is not in Prometheus text format: {error}") from error
    if not found:
        raise TokenPageError("metrics page has no vllm: series; is this the address of a vLLM server?")
    return [_reading(model, values, t_ns) for model, values in sorted(found.items())]


def _reading(model: str, values: Mapping[str, float], t_ns: int) -> TokenReading:
    counts = {key: _whole(_first(values, names)) for key, names in _COUNTERS.items()}
    sums = {key: _first(values, names) for key, names in _SUMS.items()}
    return TokenReading(
        t_ns=t_ns,
        model=model,
        prompt=counts["prompt"],
        generation=counts["generation"],
        cached=counts["cached"],
        running=counts["running"],
        waiting=counts["waiting"],
        ttft_sum_s=sums["ttft_sum_s"],
        ttft_count=counts["ttft_count"],
        itl_sum_s=sums["itl_sum_s"],
        itl_count=counts["itl_count"],
        started_s=_first(values, (_STARTED,)),
    )


def _first(values: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    for name in names:
        if name in values:
            value = values[name]
            return value if math.isfinite(value) and 0 <= value <= _COUNT_LIMIT else None
    return None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


SPEC = TokenServer(summary="vLLM, by its /metrics page", read=read)
