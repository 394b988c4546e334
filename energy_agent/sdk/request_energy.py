"""`request_energy`: the share of one request in the energy of its engine, from the prices of tokens of the node's agent.

It is a share and no measurement: all requests of an hour pay the same price for a token, whatever batch they ran in.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.token_price import RequestTokens
from energy_agent.runtime.network.agent_socket import ask
from energy_agent.sdk.agent import describe_silence

_KEPT_S = 1.0
_ENDS = ("joules", "lower", "upper")


@dataclass(frozen=True, slots=True)
class RequestEnergy:
    """GPU energy of a request, J, with bounds; None with the reason where it is unknown.

    Args:
        provisional: the hour is open, so its price still changes.
        start_ns: UTC ns of the hour, or the part of it, whose price was used.
        end_ns: its end.
        boundary: what the energy includes: `gpu` is the GPUs of the engine, without the rest of the node.
    """

    joules: float | None
    lower: float | None
    upper: float | None
    reason: str = ""
    engine: str = ""
    provisional: bool = True
    start_ns: int = 0
    end_ns: int = 0
    boundary: str = "gpu"


def request_energy(usage: Any, engine: str, at_s: float | None = None) -> RequestEnergy:
    """Energy of a request.

    Args:
        usage: `usage` of a response of an OpenAI-compatible or Anthropic API: an object or a mapping with prompt_tokens and
            completion_tokens, or input_tokens and output_tokens, and how many of them were cached.
        engine: the workload, or the group whose pools serve together, as the agent names it.
        at_s: when the request ran, UTC seconds; by default now.

    Raises:
        TypeError: `usage` has no counts of tokens.

    >>> energy = request_energy({"prompt_tokens": 20, "completion_tokens": 5}, "ml/llama-70b")
    >>> energy.joules, energy.reason.partition(" at ")[0]
    (None, 'no agent responds')
    """
    tokens = usage_of(usage)
    hours, reason = _prices()
    hour = next((h for h in reversed(hours) if h["engine"] == engine and _holds(h, at_s)), None)
    if hour is None:
        engines = sorted({str(h["engine"]) for h in hours})
        missing = (
            "no price of that hour" if engine in engines else f"no engine {engine!r}; there are: {', '.join(engines) or 'none'}"
        )
        return RequestEnergy(None, None, None, reason or missing, engine)
    return energy_at(tokens, hour)


def energy_at(tokens: RequestTokens, hour: Mapping[str, Any]) -> RequestEnergy:
    """Energy of tokens at the prices of an hour, as the agent returns it from GET /v1/engines.

    >>> prices = {"generation": {"joules": 2.0, "lower": 1.5, "upper": 2.5}}
    >>> hour = {"engine": "llama", "final": True, "start_ns": 0, "end_ns": 0, "prices": prices}
    >>> energy_at(RequestTokens(0, 0, 5), hour).joules
    10.0
    """
    engine = str(hour["engine"])
    joules = lower = upper = 0.0
    for kind, count in (("prompt", tokens.computed), ("cached", tokens.cached), ("generation", tokens.generated)):
        price = hour["prices"].get(kind)
        if count and price is None:
            return RequestEnergy(None, None, None, f"the engine has no price of {kind} tokens in this hour yet", engine)
        if count:
            joules, lower, upper = (
                sum_j + count * price[end] for sum_j, end in zip((joules, lower, upper), _ENDS, strict=True)
            )
    return RequestEnergy(joules, lower, upper, "", engine, not hour["final"], hour["start_ns"], hour["end_ns"])


def fetch_hours() -> tuple[list[dict[str, Any]], str]:
    """Prices of all engines from the agent, oldest hour first for each; empty with the reason if it has none."""
    try:
        status, reply = ask("GET", "/v1/engines")
    except (OSError, ValueError) as error:
        return [], describe_silence(error)
    reason = str(reply.get("reason", "")) if status == 200 else "this agent has no prices of tokens: upgrade it"
    return list(reply.get("hours", ())), reason


def usage_of(usage: Any) -> RequestTokens:
    """Tokens of a response's `usage`; raises TypeError where it has no counts."""

    def count(*names: str, of: Any = usage) -> int | None:
        for name in names:
            value = of.get(name) if isinstance(of, Mapping) else getattr(of, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
        return None

    def part(*names: str) -> Any:
        values = (usage.get(name) if isinstance(usage, Mapping) else getattr(usage, name, None) for name in names)
        return next((each for each in values if each is not None), {})

    generated = count("completion_tokens", "output_tokens")
    prompt = count("prompt_tokens", "input_tokens")
    if prompt is None and generated is None:
        raise TypeError("usage: expected prompt_tokens and completion_tokens, or input_tokens and output_tokens")
    read = count("cache_read_input_tokens")  # Anthropic counts these apart from input_tokens
    if read is not None and count("prompt_tokens") is None:
        return RequestTokens(prompt or 0, read, generated or 0)
    cached = count("cached_tokens", of=part("prompt_tokens_details", "input_tokens_details")) or 0
    return RequestTokens(max(0, (prompt or 0) - cached), min(cached, prompt or 0), generated or 0)


_last: tuple[float, list[dict[str, Any]], str] = (float("-inf"), [], "")


def _prices() -> tuple[list[dict[str, Any]], str]:
    """Hours of all engines, asked of the agent at most once a second; with the reason if it has no answer."""
    global _last
    if time.monotonic() - _last[0] > _KEPT_S:
        _last = time.monotonic(), *fetch_hours()
    return _last[1], _last[2]


def _holds(hour: Mapping[str, Any], at_s: float | None) -> bool:
    """Whether the price is one of the instant's hour; without an instant the newest price serves."""
    if at_s is None:
        return True
    hour_ns = 3600 * NS_PER_S
    return bool(hour["start_ns"] // hour_ns == round(at_s * NS_PER_S) // hour_ns)
