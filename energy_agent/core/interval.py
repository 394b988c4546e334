"""An estimate with its interval, and Student's t, which intervals of few measurements need."""

import math
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """An estimate and its 95 % interval; its unit is that of what it stands for."""

    value: float
    low: float
    high: float


@lru_cache(maxsize=4096)
def t_quantile(df: int, above: float) -> float:
    """Student's t with the upper tail probability `above`, by bisection of the closed form A&S 26.7.3 and 26.7.4."""
    low, high = 0.0, 1e9
    for _ in range(90):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_inside(middle, df) < 1 - 2 * above else (low, middle)
    return high


def _t_inside(t: float, df: int) -> float:
    """P(|T| < t)."""
    theta, is_odd = math.atan(t / math.sqrt(df)), df % 2 == 1
    cos = math.cos(theta)
    term = cos if is_odd else 1.0
    total = term if df > 1 else 0.0
    for k in range(3 if is_odd else 2, df - 1, 2):
        term *= cos**2 * (k - 1) / k
        total += term
    inside = math.sin(theta) * total
    return 2 / math.pi * (theta + inside) if is_odd else inside
