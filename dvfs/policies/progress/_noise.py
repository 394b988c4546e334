"""Scatter of samples of one setting, and the precision of the mean of a block. Pure.

A sample is the logarithm of a step's time or power. The variogram distinguishes two parts of its variance: half the mean
square difference of two samples `k` apart is
    D(k) = white + slow (1 - rho^k)
where `white` is each sample's own and `slow` lasts about ten samples (an AR(1) process, rho = 0.9), as data loading and clocks
cause it. The scale of differences is their median, so that single samples far off (a stall, a checkpoint) do not count.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

RHO = 0.9
_NEAR, _MIDDLE, _FAR = 1, 8, 16
_KEPT = 256  # differences of each distance that are remembered
_MEDIAN = 0.6745  # of the absolute value of a standard normal
_FIRST_SD = 0.02  # until the first block is seen
_LEAST = 1e-8  # variance; timers are no better
_FAR_OFF = 4.0  # standard deviations; of a normal distribution 1 in 16,000 is farther off
_MOST_LEFT_OUT = 0.25  # of a block: more than that is no outlier but how the block is


@dataclass(frozen=True, slots=True)
class BlockScatter:
    """Parts of the variance of a block's mean; see `Noise.block`.

    Args:
        samples: how many there are.
        variance: of the mean, given the slow part's value before the block.
        carried: share of that value in the mean.
        kept: share of it that is left at the end.
        fresh: variance of the slow part at the end, given its value before.
        shared: covariance of that with the mean.
    """

    samples: int
    variance: float
    carried: float
    kept: float
    fresh: float
    shared: float


@dataclass(frozen=True, slots=True)
class Noise:
    """Present estimate of the scatter. Variances of logarithms."""

    white: float = _FIRST_SD**2
    slow: float = 0.0
    _near: tuple[float, ...] = ()
    _middle: tuple[float, ...] = ()
    _far: tuple[float, ...] = ()

    @property
    def sd(self) -> float:
        """Standard deviation of one sample."""
        return math.sqrt(self.white + self.slow)

    def add_block(self, samples: Sequence[float]) -> "Noise":
        """Return the state after another block of one setting, in order."""
        near, middle, far = (
            (*kept, *(abs(b - a) for a, b in zip(samples, samples[k:], strict=False)))[-_KEPT:]
            for k, kept in ((_NEAR, self._near), (_MIDDLE, self._middle), (_FAR, self._far))
        )
        return replace(self, _near=near, _middle=middle, _far=far)._fitted() if near else self

    def _fitted(self) -> "Noise":
        near = _half_square(self._near)
        k, distant = (_FAR, self._far) if len(self._far) >= 40 else (_MIDDLE, self._middle)
        if len(distant) < 8:
            return replace(self, white=max(near, _LEAST))
        # A slow part estimated from few differences is uncertain; only its excess over the standard error is used.
        error = near * 1.6 * math.sqrt(2 / (len(distant) / 2))
        slow = max(0.0, (_half_square(distant) - near - error) / (RHO - RHO**k))
        return replace(self, white=max(near - slow * (1 - RHO), 0.05 * near, _LEAST), slow=slow)

    def block(self, n: int) -> "BlockScatter":
        """Scatter of the mean of `n` consecutive samples.

        With e' = rho e + u, var(u) = slow (1 - rho^2), the slow part's mean over the block is `carried` e + w, and its value at
        the end is `kept` e + v, where e was its value before.
        """
        kept = RHO**n
        if not self.slow:
            return BlockScatter(n, self.white / n, 0.0, kept, 0.0, 0.0)
        fresh = self.slow * (1 - RHO**2)
        shares = [(1 - RHO ** (k + 1)) / (1 - RHO) / n for k in range(n)]  # of the sample k before the last in the mean
        return BlockScatter(
            n,
            self.white / n + fresh * math.fsum(share**2 for share in shares),
            RHO * (1 - kept) / (n * (1 - RHO)),
            kept,
            self.slow * (1 - kept**2),
            fresh * math.fsum(share * RHO**k for k, share in enumerate(shares)),
        )

    def variance_of_mean(self, n: int) -> float:
        """Variance of the mean of `n` consecutive samples, by themselves."""
        block = self.block(n)
        return block.variance + block.carried**2 * self.slow

    def mean(self, samples: Sequence[float]) -> float:
        """Mean of a block without samples that are far off, where these are few."""
        middle, limit = sorted(samples)[len(samples) // 2], _FAR_OFF * self.sd
        kept = [x for x in samples if abs(x - middle) <= limit]
        if len(kept) < (1 - _MOST_LEFT_OUT) * len(samples):
            kept = list(samples)
        return math.fsum(kept) / len(kept)


UNKNOWN_NOISE = Noise()
"""Before the first block."""


def _half_square(differences: Sequence[float]) -> float:
    return (sorted(differences)[len(differences) // 2] / _MEDIAN) ** 2 / 2
