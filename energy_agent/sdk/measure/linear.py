"""Kriging of integrals over intervals of a line: the linear algebra of the window estimator, in pure Python. Pure.

Sizes are a few dozen, for which this costs a few ms; no numerical library is worth its import here.
"""

from collections.abc import Sequence
from math import exp, expm1, sqrt
from operator import mul

_MEAN_FREE = 10.0  # the unknown mean level's variance, in units of the process's: large enough not to matter


class Pieces:
    """A line cut at `breaks`; on it a process of one variance whose correlation falls by exp(-rates[i] * length) in piece i."""

    def __init__(self, breaks: Sequence[float], rates: Sequence[float], variance: float) -> None:
        self._index = {b: i for i, b in enumerate(breaks)}
        n = len(rates)
        keep = [exp(-r * (b - a)) for r, a, b in zip(rates, breaks, breaks[1:], strict=False)]
        # integral of the correlation with the piece's end
        mass = [-expm1(-r * (b - a)) / r for r, a, b in zip(rates, breaks, breaks[1:], strict=False)]
        # sums[i][j]: covariance of the integrals over the first i and the first j pieces: any two intervals cost four looks
        self._sums = [[0.0] * (n + 1) for _ in range(n + 1)]
        cells = [[0.0] * n for _ in range(n)]
        for i in range(n):
            cells[i][i] = _square(breaks[i + 1] - breaks[i], rates[i]) * variance
            reach = mass[i] * variance
            for j in range(i + 1, n):
                cells[i][j] = cells[j][i] = reach * mass[j]
                reach *= keep[j]
        for i, row in enumerate(cells):
            above, below = self._sums[i], self._sums[i + 1]
            run = 0.0
            for j, cell in enumerate(row):
                run += cell
                below[j + 1] = above[j + 1] + run

    def between(self, start: float, end: float) -> tuple[int, int]:
        """The breaks of an interval as indices."""
        return self._index[start], self._index[end]

    def covariance(self, one: tuple[int, int], other: tuple[int, int]) -> float:
        """Of the integrals over two intervals."""
        (a, b), (c, d) = one, other
        upper, lower = self._sums[b], self._sums[a]
        return upper[d] - upper[c] - lower[d] + lower[c]


def _square(length: float, rate: float) -> float:
    """Double integral of exp(-rate |t - u|) over one piece; by its series where the closed form would cancel."""
    x = rate * length
    if x < 1e-2:
        return length * length * (1.0 - x / 3.0 + x * x / 12.0 - x * x * x / 60.0)
    return 2.0 * (length + expm1(-x) / rate) / rate


def krige(
    pieces: Pieces,
    rows: Sequence[tuple[float, float, float, float]],
    owed: Sequence[dict[int, float]],
    wanted: tuple[float, float],
    level: float,
) -> tuple[float, float]:
    """Conditional mean and variance of the integral over `wanted`.

    Args:
        pieces: the process.
        rows: observed integrals: from, to, value, standard deviation of its own error.
        owed: for each row, errors that it shares with others: number of the cause -> signed size.
        wanted: the interval asked for.
        level: a first guess of the mean, which the observations correct.
    """
    spans = [pieces.between(a, b) for a, b, _, _ in rows]
    lengths = [b - a for a, b, _, _ in rows]
    free = _MEAN_FREE * max(pieces.covariance(s, s) / (n * n) for s, n in zip(spans, lengths, strict=True))
    matrix = []
    for i, (span, length, debts) in enumerate(zip(spans, lengths, owed, strict=True)):
        row = [pieces.covariance(span, spans[j]) + free * length * lengths[j] for j in range(i + 1)]
        if debts:
            for j in range(i + 1):
                row[j] += sum(size * owed[j][cause] for cause, size in debts.items() if cause in owed[j])
        row[i] += rows[i][3] ** 2
        matrix.append(row)
    span, length = pieces.between(*wanted), wanted[1] - wanted[0]
    cross = [pieces.covariance(span, s) + free * length * n for s, n in zip(spans, lengths, strict=True)]
    factor = cholesky(matrix)
    left = forward(factor, cross)
    right = forward(factor, [value - level * n for (_, _, value, _), n in zip(rows, lengths, strict=True)])
    mean = level * length + sum(map(mul, left, right))
    variance = pieces.covariance(span, span) + free * length * length - sum(map(mul, left, left))
    return mean, max(0.0, variance)


def cholesky(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Lower factor of a symmetric matrix given by its lower half; a direction without variance is given a little."""
    factor: list[list[float]] = []
    for i, given in enumerate(matrix):
        row: list[float] = []
        for j in range(i):
            done = factor[j]
            row.append((given[j] - sum(map(mul, row, done))) / done[j])
        row.append(sqrt(max(given[i] - sum(map(mul, row, row)), 1e-9 * abs(given[i]) + 1e-15)))
        factor.append(row)
    return factor


def forward(factor: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve factor x = right."""
    found: list[float] = []
    for row, value in zip(factor, right, strict=True):
        found.append((value - sum(map(mul, row, found))) / row[len(found)])
    return found
