"""Joules per token of a window, with the interval that the errors of both make. Pure.

Energy is uncertain by the sensor's gain and by the window's edges, a count of tokens by what its counter had not yet published
at the two ends. The first is a bound and so is the last: they add, as distances on the logarithm. Edges of energy are
half-widths of independent errors, so those of several windows add in squares.
"""

from dataclasses import dataclass
from math import exp, inf, log


@dataclass(frozen=True, slots=True)
class PerToken:
    """J per token and its interval; all None, with the reason, if it is not available."""

    joules: float | None
    low: float | None
    high: float | None
    reason: str = ""

    def __str__(self) -> str:
        """Four digits and the interval, or why not."""
        if self.joules is None:
            return f"no joules per token: {self.reason}"
        return f"{self.joules:.4g} J/token ({self.low:.4g} to {self.high:.4g})"


def distances(value: float, edge: float) -> tuple[float, float]:
    """How far below and above `value` the edges of value +- edge lie, on the logarithm; infinitely far where 0 is between.

    >>> distances(100.0, 0.0)
    (0.0, 0.0)
    """
    return (log(value / (value - edge)) if edge < value else inf), log((value + edge) / value)


def per_token(joules: float, edge_j: float, gain: float, tokens: int, edge_tokens: float) -> PerToken:
    """J per token.

    Args:
        joules: by the GPUs' own sensors.
        edge_j: half-width of what the window's edges add.
        gain: systematic error of the sensors, as a ratio.
        tokens: how many.
        edge_tokens: half-width of what was not published, or too early, at the edges; 0 for tokens that one counted oneself.
    """
    if tokens <= 0:
        return PerToken(None, None, None, "no tokens were counted in the window")
    if edge_tokens >= tokens:
        return PerToken(None, None, None, f"{tokens} tokens have an uncertainty of {edge_tokens:.0f}: the window is too short")
    if joules <= 0:
        return PerToken(None, None, None, "the sensors reported no energy")
    value = joules / tokens
    (j_down, j_up), (t_down, t_up) = distances(joules, edge_j), distances(tokens, edge_tokens)
    return PerToken(value, value * exp(-j_down - t_up) / (1.0 + gain), value * exp(j_up + t_down) / (1.0 - gain))
