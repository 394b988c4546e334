"""What both halves of `wattlens dvfs replay` do with options: their defaults, their ranges, and a policy's own options."""

import json
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError

if TYPE_CHECKING:
    from dvfs.types import NodePolicy, Policy

TRACE_OPTIONS = {
    name: f"--{name.removesuffix('_s').replace('_', '-')}"
    for name in (
        "model", "gpu", "gpus", "engine", "boundness", "rate", "from_s", "seconds", "ttft_ms", "ttft_tokens", "itl_ms",
        "attainment", "replicas", "option", "no_hindsight",
    )
}  # fmt: skip
TABLE_OPTIONS = {name: f"--{name}" for name in ("slowdown", "steps", "noise", "seeds", "isotonic")}


def number(option: str, value: float | None, otherwise: float, low: float, high: float) -> float:
    """An option's value, `otherwise` where it was not given.

    Raises:
        UsageError: it is not from `low` to `high`.
    """
    found = otherwise if value is None else value
    if not low <= found <= high:
        raise UsageError(f"dvfs replay: {option} {found:g} is not from {low:g} to {high:g}")
    return found


def whole(option: str, value: int | None, otherwise: int, low: int, high: int) -> int:
    """The same for whole numbers."""
    return int(number(option, value, otherwise, low, high))


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


def pairs(texts: list[str] | None) -> dict[str, Any]:
    """`K=V` options: V is a number, true, false, or else a word.

    Raises:
        UsageError: one of them is no pair, or its key stands twice.
    """
    found: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"dvfs replay: --option {text!r} is no KEY=VALUE")
        if key in found:
            raise UsageError(f"dvfs replay: --option {key} stands twice")
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = value
        found[key] = parsed if isinstance(parsed, int | float | bool) else value
    return found
