"""What both halves of `wattlens dvfs replay` do with options: their defaults, and a policy's own options."""

import json
from typing import TYPE_CHECKING, Any, Final

from energy_agent.core.errors import UsageError

if TYPE_CHECKING:
    from dvfs.types import NodePolicy, Policy

TRACE_OPTIONS: Final[dict[str, Any]] = {
    "model": "llama-8b", "gpu": "h100-sxm", "gpus": None, "engine": "vllm-2024", "boundness": "mid", "rate": 1.0, "from": 0.0,
    "seconds": None, "ttft_ms": 500.0, "ttft_tokens": None, "itl_ms": 50.0, "attainment": 99.0, "replicas": None, "option": {},
    "no_hindsight": False,
}  # fmt: skip
TABLE_OPTIONS: Final[dict[str, Any]] = {"slowdown": 3.0, "steps": 3000, "noise": 2.0, "seeds": 20, "isotonic": False}


def chosen(name: str) -> "Policy | NodePolicy":
    """The policy of that name.

    Raises:
        UsageError: there is none; names those that there are.
    """
    import dvfs.policies as package
    from energy_agent.core import plugin

    if name not in plugin.names(package):
        raise UsageError(f"dvfs replay: no policy {name!r}; there are: {', '.join(plugin.names(package))}")
    spec: Policy | NodePolicy = plugin.load(package, name)
    return spec


def values(texts: dict[str, str]) -> dict[str, Any]:
    """A policy's options: each a number, true, false, or else a word."""
    return {key: _value(text) for key, text in texts.items()}


def _value(text: str) -> int | float | bool | str:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return parsed if isinstance(parsed, int | float | bool) else text
