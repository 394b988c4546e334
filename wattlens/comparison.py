"""Whether two sets of runs differ in energy: the ratio of their means with its confidence interval. Pure.

Welch's interval on the logarithms (a ratio is what people mean by "10 % less"); its degrees of freedom are those of
Welch-Satterthwaite. Runs of one set of boards share their gain errors, which cancel in the ratio; so only the spread between
runs counts, which holds the windows' own errors too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean, variance

# Two-sided 95 % points of Student's t for 1 to 30 degrees of freedom.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
    2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratio` is B / A of geometric means; `low` and `high` its 95 % interval."""

    mean_a: float
    mean_b: float
    ratio: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """The interval leaves out 1: a difference is shown."""
        return not self.low <= 1.0 <= self.high


def compare(a: Sequence[float], b: Sequence[float]) -> Comparison:
    """Compare runs of A with runs of B.

    Raises:
        ValueError: fewer than two runs on a side, or one that is not above 0.
    """
    if min(len(a), len(b)) < 2 or min(*a, *b) <= 0:
        raise ValueError("each side needs two runs or more, all above 0")
    x, y = [log(v) for v in a], [log(v) for v in b]
    va, vb = variance(x) / len(x), variance(y) / len(y)
    difference, error = fmean(y) - fmean(x), sqrt(va + vb)
    freedom = 1.0
    if error > 0:
        freedom = (va + vb) ** 2 / (va**2 / (len(x) - 1) + vb**2 / (len(y) - 1))
    half = student95(freedom) * error
    return Comparison(fmean(a), fmean(b), exp(difference), exp(difference - half), exp(difference + half))


def student95(freedom: float) -> float:
    """Two-sided 95 % point of Student's t, rounded to the side of the wider interval.

    >>> student95(4.9)
    2.776
    """
    whole = int(freedom)
    if whole > 30:
        return 1.96 + 2.5 / whole  # within 0.2 % of the exact value, above it
    return _T95[max(1, whole) - 1]
