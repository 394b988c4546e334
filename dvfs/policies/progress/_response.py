"""Response of time and power to untested settings: physical curves, weighted by measurements. Pure.

Below the setting x0 at which it begins to bind, a clock or a power limit x lengthens a step by
    slowdown(x) = c ((x0 - p) / (x - p))^k - c
For a clock that is exact with p = 0 and k = 1: c is the part of the step that follows the clock, x0 the clock it runs at by
itself. Under a power limit the clock falls as far as the power has to: with static power p and dynamic power ~ f V(f)^2,
f ~ (x - p)^k with k from 1/3 (voltage follows the clock) to 1 (below the voltage's knee), and beyond 1 where the time outside
of the capped phases grows too. Real jobs mix phases, so each curve has a tolerance of its own.

Power relative to the reference's is x / x0 under a limit. At a clock, the dynamic part (1 - s) of it follows (x / x0)^n, with n
from 1 (constant voltage) to 3 (voltage follows the clock).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_FLOOR, _SHARE = 0.007, 0.12  # deviation of a real job from its curve: a constant part, and a share of the slowdown
_COMPUTE_SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
_STATIC_SHARES = (0.12, 0.28)  # of the highest limit
_EXPONENTS = (0.45, 0.8, 1.3)
_CLOCK_POWERS = ((0.25, 1.0), (0.25, 2.0), (0.45, 1.5), (0.35, 2.8))  # static share and exponent
_UNLIKELY = 8.0  # in log likelihood below the likeliest curve: left out
_NEAREST = 0.02  # of the highest setting: no limit is nearer to the static power

POWER, CLOCK = "power_limit", "sm_clock"


class ResponseCurve(NamedTuple):
    """Logarithms of time and of power over the settings, relative to the reference."""

    time: tuple[float, ...]
    power: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CurvePosterior:
    """Response curves over the settings, with their weights."""

    settings: tuple[float, ...]
    curves: tuple[ResponseCurve, ...]
    weights: tuple[float, ...]

    def fitted(self, measured: Mapping[float, tuple[float, float]]) -> "CurvePosterior":
        """With mean and variance of log(1 + slowdown) of each setting that was tried."""
        places = [(self.settings.index(s), m, v) for s, (m, v) in measured.items()]
        logs = [
            -0.5
            * math.fsum((m - curve.time[i]) ** 2 / (v + (_FLOOR + _SHARE * max(curve.time[i], m)) ** 2) for i, m, v in places)
            for curve in self.curves
        ]
        most = max(logs)
        likely = [(math.exp(log - most), curve) for log, curve in zip(logs, self.curves, strict=True) if log > most - _UNLIKELY]
        total = math.fsum(w for w, _ in likely)
        return CurvePosterior(self.settings, tuple(curve for _, curve in likely), tuple(w / total for w, _ in likely))

    def expected(self, setting: float) -> tuple[float, float]:
        """Mean and standard deviation of log(1 + slowdown) at a setting."""
        i = self.settings.index(setting)
        mean = math.fsum(w * c.time[i] for w, c in zip(self.weights, self.curves, strict=True))
        spread = math.fsum(w * (c.time[i] - mean) ** 2 for w, c in zip(self.weights, self.curves, strict=True))
        return mean, math.sqrt(spread + (_FLOOR + _SHARE * mean) ** 2)

    def chance_above(self, setting: float, limit: float) -> float:
        """Probability that log(1 + slowdown) at a setting is above `limit`."""
        i = self.settings.index(setting)
        return math.fsum(
            w * 0.5 * math.erfc((limit - c.time[i]) / (math.sqrt(2) * (_FLOOR + _SHARE * c.time[i])))
            for w, c in zip(self.weights, self.curves, strict=True)
        )

    def savings(self, limit: float) -> list[tuple[float, float, float]]:
        """Of each curve: weight, setting of least energy with log(1 + slowdown) at most `limit`, and what that saves."""
        draws = []
        for weight, curve in zip(self.weights, self.curves, strict=True):
            energies = [
                (t + p, setting) for t, p, setting in zip(curve.time, curve.power, self.settings, strict=True) if t <= limit
            ]
            least, setting = min(energies, default=(0.0, self.settings[-1]))
            draws.append((weight, setting, -math.expm1(min(least, 0.0))))
        return draws


def prior(knob: str, settings: Sequence[float], power_w: float) -> CurvePosterior:
    """Before anything was tried but the highest setting, at which `power_w` was drawn.

    A limit well above the power drawn does not bind, one below it does: x0 lies between them.
    """
    top = max(settings)
    if knob.startswith(POWER):
        low, high = 0.97 * power_w, min(1.6 * power_w, 1.3 * top)
        begins = [low + (high - low) * i / 8 for i in range(9)]
        curves = tuple(
            ResponseCurve(
                tuple(_slower(x, x0, share * top, k, c, _NEAREST * top) for x in settings),
                tuple(min(0.0, math.log(x / x0)) for x in settings),
            )
            for x0 in begins
            for share in _STATIC_SHARES
            for k in _EXPONENTS
            for c in _COMPUTE_SHARES
        )
    else:
        begins = [top * (0.5 + 0.5 * i / 11) for i in range(12)]
        curves = tuple(
            ResponseCurve(
                tuple(_slower(x, x0, 0.0, 1.0, c, _NEAREST * top) for x in settings),
                tuple(math.log(share + (1 - share) * min(1.0, x / x0) ** n) for x in settings),
            )
            for x0 in begins
            for share, n in _CLOCK_POWERS
            for c in _COMPUTE_SHARES
        )
    return CurvePosterior(tuple(settings), curves, (1 / len(curves),) * len(curves))


def _slower(x: float, x0: float, p: float, k: float, c: float, nearest: float) -> float:
    if x >= x0:
        return 0.0
    return math.log1p(c * ((max(x0 - p, nearest) / max(x - p, nearest)) ** k - 1))
