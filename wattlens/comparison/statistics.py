"""Whether two sets of runs differ in energy: the ratio of their means with its confidence interval. Pure.

Of several runs a side: Welch's interval on the logarithms (a ratio is what people mean by "10 % less"); its degrees of freedom
are those of Welch-Satterthwaite. The spread between runs holds the windows' own errors too, but a few runs can agree by chance:
the interval is never narrower than those errors. Of one run a side: what the edges of the two windows make uncertain: of energy
in squares, as independent errors are, of tokens added, as bounds are; how runs vary is not in it.

Gain errors of the boards come on top of either, as far as they do not cancel: `gain_range`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, inf, log, sqrt
from statistics import fmean, variance

from energy_agent.core.interval import t_quantile
from energy_agent.sdk.measure.window_tokens import distances

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratio` is B / A of geometric means; `low` and `high` its 95 % interval."""

    mean_a: float
    mean_b: float
    ratio: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 1."""
        return not self.low <= 1.0 <= self.high


def compare(a: Sequence[float], b: Sequence[float], errors: Sequence[float] = ()) -> Comparison:
    """Compare runs of A with runs of B.

    The interval is open (0 to infinity) where all runs of each side are equal and no error is known: nothing then shows
    how much another run would differ.

    Args:
        a: what each run of one side took.
        b: what each run of the other side took.
        errors: half-width of each run of A, then of each run of B, as a ratio; independent of each other.

    Raises:
        ValueError: fewer than two runs on a side, or one that is not above 0.

    >>> comparison = compare([100.0, 101.0, 99.5], [90.2, 91.0, 90.4])
    >>> round(comparison.ratio, 3), comparison.is_significant
    (0.904, True)
    """
    if min(len(a), len(b)) < 2 or min(*a, *b) <= 0:
        raise ValueError("expected two or more runs on each side, all with values above 0")
    x, y = [log(v) for v in a], [log(v) for v in b]
    va, vb = variance(x) / len(x), variance(y) / len(y)
    difference, error = fmean(y) - fmean(x), sqrt(va + vb)
    freedom = 1.0
    if error > 0:
        freedom = (va + vb) ** 2 / (va**2 / (len(x) - 1) + vb**2 / (len(y) - 1))
    half = max(
        t_quantile(max(1, int(freedom)), 0.025) * error,
        hypot(hypot(*errors[: len(a)]) / len(a), hypot(*errors[len(a) :]) / len(b)),
    )
    low, high = (exp(difference - half), exp(difference + half)) if half > 0 else (0.0, inf)
    return Comparison(fmean(a), fmean(b), exp(difference), low, high)


@dataclass(frozen=True, slots=True)
class RunEnergy:
    """Energy and tokens of one run, each with the half-width of the error at its edges."""

    joules: float
    edge_joules: float
    tokens: float = 1.0
    edge_tokens: float = 0.0


def compare_measured(a: RunEnergy, b: RunEnergy) -> Comparison:
    """Compare two runs by their own bands.

    Raises:
        ValueError: joules or tokens of one are not above 0, or their edges reach down to 0.
    """
    for run in (a, b):
        if run.joules <= run.edge_joules or run.tokens <= run.edge_tokens:
            raise ValueError("a run is so short that its energy or its token count may be 0")
    (a_down, a_up), (b_down, b_up) = (distances(run.joules, run.edge_joules) for run in (a, b))
    (a_fewer, a_more), (b_fewer, b_more) = (distances(run.tokens, run.edge_tokens) for run in (a, b))
    down, up = sqrt(a_up**2 + b_down**2) + a_fewer + b_more, sqrt(a_down**2 + b_up**2) + a_more + b_fewer
    x, y = a.joules / a.tokens, b.joules / b.tokens
    return Comparison(x, y, y / x, y / x * exp(-down), y / x * exp(up))


def relative_error(run: RunEnergy) -> float:
    """Half-width of a run's own interval on the logarithm, on its wider side; 0 where the run has no joules above its edges."""
    if run.joules <= run.edge_joules or run.tokens <= run.edge_tokens:
        return 0.0
    return distances(run.joules, run.edge_joules)[0] + distances(run.tokens, run.edge_tokens)[0]


def gain_range(a: Mapping[str, float], b: Mapping[str, float], gains: Mapping[str, float]) -> tuple[float, float]:
    """Return the range of the factor by which the true ratio B / A may differ from the measured ratio.

    A GPU whose sensor reports (1 + e) times the true power, |e| <= its gain error, does so in both runs. So the factor is 1 if
    both runs used one GPU, or divided their energy over several in the same way. If they have no GPU in common, the gains add
    up. Between these cases the ratio of two sums is greatest when each GPU errs by its full gain error: GPUs above some share
    of B to A in one direction and the others in the other direction (a linear-fractional function has its extremes in corners).

    Args:
        a: J by GPU of A, as measured.
        b: J by GPU of B, as measured.
        gains: gain error of each GPU, as a ratio.

    >>> gain_range({"x": 5.0}, {"x": 3.0}, {"x": 0.05})
    (1.0, 1.0)
    """
    total_a, total_b = sum(a.values()), sum(b.values())
    parts = [(b.get(u, 0.0) / total_b, a.get(u, 0.0) / total_a, gains[u]) for u in a.keys() | b.keys()]
    parts.sort(key=lambda p: p[0] / p[1] if p[1] else float("inf"))

    def factor(first: int, sign: float) -> float:
        """Boards before `first` err by `sign` times their gain error, the others the other way."""
        reads = [1.0 + (sign if k < first else -sign) * gain for k, (_, _, gain) in enumerate(parts)]
        over, under = (sum(p[side] / r for p, r in zip(parts, reads, strict=True)) for side in (0, 1))
        return over / under

    corners = [factor(k, sign) for k in range(len(parts) + 1) for sign in (1.0, -1.0)]
    low, high = min(corners), max(corners)
    return (1.0, 1.0) if high - low < _ROUNDING else (low, high)


def widened(comparison: Comparison, factors: tuple[float, float]) -> Comparison:
    """With what gains do not cancel."""
    return replace(comparison, low=comparison.low * factors[0], high=comparison.high * factors[1])
