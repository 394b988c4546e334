"""Effect of each setting on a quantity, relative to the reference setting, from alternating blocks of measurements. Pure.

The logarithm of a block's mean is  level + offset(setting) + slow noise + white noise.  The level is shared by all settings
and drifts (temperature, data): it has a slope, and both wander as random walks (the local linear trend of Harvey, Forecasting,
Structural Time Series Models and the Kalman Filter, 1989). The slow noise is an AR(1) process (`_noise.py`). The
offset of the reference setting is 0. A Kalman filter keeps mean and covariance of all of them, so that a setting is compared
with the reference near it in time, and each block of the reference makes every offset better known.
"""

import math
from dataclasses import dataclass, replace

from dvfs.policies.progress._noise import BlockScatter

LEVEL_WALK, OFFSET_WALK = 3e-8, 1e-9
"""Variance that each gains with a sample: of the level 0.5 % in 300."""
CALM, RESTLESS = 2e-12, 4e-10
"""The same of the slope: a drift that turns within thousands of samples, and one that turns within hundreds."""
_FIRST_SLOPE = 2.5e-9  # variance before the first block: 0.5 % in 100 samples
_UNKNOWN = 100.0
_FIRST_OFFSET = 0.25  # variance of an offset before its first block
_LEVEL, _SLOPE, _SLOW, _FIRST = 0, 1, 2, 3  # places in the state; the last of the first offset

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Contrasts:
    """The filter's state at the end of the last block: level, its slope per sample, slow noise, the offsets in `order`."""

    reference: float
    order: tuple[float, ...] = ()
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    covariance: Matrix = ((_UNKNOWN, 0.0, 0.0), (0.0, _FIRST_SLOPE, 0.0), (0.0, 0.0, 0.0))
    slope_walk: float = CALM
    log_likelihood: float = 0.0  # of the blocks seen, each given those before it

    def offset(self, setting: float) -> tuple[float, float]:
        """Mean and variance of a setting's offset; of one that was never measured the widest."""
        if setting == self.reference:
            return 0.0, 0.0
        if setting not in self.order:
            return 0.0, _FIRST_OFFSET
        i = self._place(setting)
        return self.mean[i], self.covariance[i][i]

    def between(self, a: float, b: float) -> float:
        """Covariance of two settings' offsets."""
        if self.reference in (a, b):
            return 0.0
        return self.covariance[self._place(a)][self._place(b)]

    @property
    def level(self) -> float:
        """The reference's logarithm now."""
        return self.mean[_LEVEL]

    def surprise(self, setting: float, value: float, block: BlockScatter) -> tuple[float, float]:
        """Difference of a block's mean from its expected value, and the standard deviation of that difference."""
        error, spread, _, _ = self._with(setting)._compared(setting, value, block)
        return error, math.sqrt(spread)

    def add_block(self, setting: float, value: float, block: BlockScatter) -> "Contrasts":
        """Return the state after a block at a setting with this mean."""
        known = self._with(setting)
        error, spread, rows, shared = known._compared(setting, value, block)
        # Advance to the block's end and apply the usual update there, in proportion to the covariance with the mean.
        for row in rows:
            row[_LEVEL] += block.samples * row[_SLOPE]
            row[_SLOW] *= block.kept
        rows[_LEVEL] = [a + block.samples * b for a, b in zip(rows[_LEVEL], rows[_SLOPE], strict=True)]
        rows[_SLOW] = [block.kept * a for a in rows[_SLOW]]
        rows[_SLOW][_SLOW] += block.fresh
        shared[_LEVEL] += block.samples * shared[_SLOPE]
        shared[_SLOW] = block.kept * shared[_SLOW] + block.shared
        mean = list(known.mean)
        mean[_LEVEL] += block.samples * mean[_SLOPE]
        mean[_SLOW] *= block.kept
        return replace(
            known,
            mean=tuple(m + s * error / spread for m, s in zip(mean, shared, strict=True)),
            covariance=tuple(
                tuple(c - s * other / spread for c, other in zip(row, shared, strict=True))
                for row, s in zip(rows, shared, strict=True)
            ),
            log_likelihood=self.log_likelihood - 0.5 * (error**2 / spread + math.log(spread)),
        )

    def _compared(
        self, setting: float, value: float, block: BlockScatter
    ) -> tuple[float, float, list[list[float]], list[float]]:
        """Error and its variance, the covariance of the state before the block, and the state's covariance with the mean."""
        rows = [list(row) for row in self.covariance]
        for place, walk in ((_LEVEL, LEVEL_WALK), (_SLOPE, self.slope_walk)):
            rows[place][place] += walk * block.samples
        for place in range(_FIRST, len(rows)):
            rows[place][place] += OFFSET_WALK * block.samples
        middle = block.samples / 2  # where the mean of a block is that of its level
        own = self._place(setting) if setting != self.reference else None
        shared = [
            row[_LEVEL] + middle * row[_SLOPE] + block.carried * row[_SLOW] + (row[own] if own is not None else 0.0)
            for row in rows
        ]
        spread = shared[_LEVEL] + middle * shared[_SLOPE] + block.carried * shared[_SLOW] + block.variance
        expected = self.mean[_LEVEL] + middle * self.mean[_SLOPE] + block.carried * self.mean[_SLOW]
        if own is not None:
            spread += shared[own]
            expected += self.mean[own]
        return value - expected, spread, rows, shared

    def _place(self, setting: float) -> int:
        return self.order.index(setting) + _FIRST

    def _with(self, setting: float) -> "Contrasts":
        if setting == self.reference or setting in self.order:
            return self
        size = len(self.mean)
        rows = (*((*row, 0.0) for row in self.covariance), (*[0.0] * size, _FIRST_OFFSET))
        return replace(self, order=(*self.order, setting), mean=(*self.mean, 0.0), covariance=rows)
