"""A small linear response learnt online: Bayesian least squares with a prior and slow forgetting. Pure, its state is frozen.

With features x, observation y and its standard deviation s, the posterior of the coefficients is Gaussian with precision
A = A0 + sum x x' / s^2 and mean A^-1 (A0 m0 + sum x y / s^2). Before each observation the learnt part decays by a factor and
the prior takes its place, so that the model adapts to a changed workload.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from operator import mul

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Prior:
    """Means and standard deviations of the coefficients, and the share of the learnt part kept at each observation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    keep: float = 0.999


@dataclass(frozen=True, slots=True)
class Linear:
    """The learnt state: mean and covariance of the coefficients follow from precision and weighted sum."""

    prior: Prior
    precision: Matrix
    weighted: tuple[float, ...]
    mean: tuple[float, ...]
    covariance: Matrix

    @classmethod
    def start(cls, prior: Prior) -> "Linear":
        """Nothing learnt yet."""
        return _begin(prior)

    def add_observation(self, features: Sequence[float], value: float, std: float) -> "Linear":
        """Return the state after one more observation with this standard deviation."""
        prior, keep, weight = self.prior, self.prior.keep, 1.0 / (std * std)
        back = [(1.0 - keep) / (s * s) for s in prior.std]
        precision = []
        for i, (row, x) in enumerate(zip(self.precision, features, strict=True)):
            wx = weight * x
            new = [keep * a + wx * y for a, y in zip(row, features, strict=True)]
            new[i] += back[i]
            precision.append(tuple(new))
        weighted = tuple(
            keep * b + r * m + weight * x * value for b, r, m, x in zip(self.weighted, back, prior.mean, features, strict=True)
        )
        covariance = _inverse(precision)
        mean = tuple(sum(map(mul, row, weighted)) for row in covariance)
        return Linear(prior, tuple(precision), weighted, mean, covariance)

    def at(self, features: Sequence[float]) -> float:
        """The expected value."""
        value: float = sum(map(mul, self.mean, features))  # in half the time of a generator: each second needs thousands
        return value

    def std_at(self, features: Sequence[float]) -> float:
        """Standard deviation of the expected value."""
        total = 0.0
        for row, x in zip(self.covariance, features, strict=True):
            total += x * sum(map(mul, row, features))
        return sqrt(max(0.0, total))


@lru_cache(maxsize=64)
def _begin(prior: Prior) -> Linear:
    size = range(len(prior.mean))
    precision = tuple(tuple(1.0 / prior.std[i] ** 2 if i == j else 0.0 for j in size) for i in size)
    covariance = tuple(tuple(prior.std[i] ** 2 if i == j else 0.0 for j in size) for i in size)
    weighted = tuple(m / (s * s) for m, s in zip(prior.mean, prior.std, strict=True))
    return Linear(prior, precision, weighted, prior.mean, covariance)


def _inverse(matrix: Sequence[Sequence[float]]) -> Matrix:
    """Of a symmetric positive definite matrix, by Gauss and Jordan; the prior keeps pivots away from 0."""
    size = len(matrix)
    rows = [[*row, *(1.0 if i == j else 0.0 for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = rows[i][i]
        head = [v / pivot for v in rows[i]]
        rows[i] = head
        for k in range(size):
            factor = rows[k][i]
            if k != i and factor:
                rows[k] = [a - factor * b for a, b in zip(rows[k], head, strict=True)]
    return tuple(tuple(row[size:]) for row in rows)
