"""The line at the end of a training run about the saving that steering would have made; only in mode shadow. Pure."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

_LEAST = 0.01
"""A smaller share is not worth a line."""


def shadow_hint(reply: Mapping[str, Any]) -> str:
    """The line that an answer to GET /v1/dvfs is worth; "" where it promises nothing, or steers already."""
    expected = reply.get("predicted_saving")
    if reply.get("mode") != "shadow" or not isinstance(expected, Mapping):
        return ""
    ratio, low, high = (_number(expected.get(name)) for name in ("ratio", "lower", "upper"))
    if ratio is None or low is None or high is None or ratio < _LEAST:
        return ""
    slowdown = _number(reply.get("slowdown"))
    within = "" if slowdown is None else f" within a slowdown of {_percent(slowdown)} %"
    interval = f"({_percent(low)} to {_percent(high)} %)"
    return f"steering would have saved {_percent(ratio)} % {interval} of this run's energy{within}; docs/dvfs.md"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.0f}" if abs(ratio) >= 0.095 else f"{100 * ratio:.2g}"
