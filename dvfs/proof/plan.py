"""Plan of an experiment: when its treatment and control blocks run, and when its interim analyses are due. Pure.

Enforced time is divided into periods. Each period contains one pair of blocks at a random offset: a treatment block with the
setting and a control block without it, in random order. A pair represents its own period, whether the saving drifts or ends,
and the plan cannot synchronise with a rhythm of the workload. Periods start short and become longer, because each control
block costs some of the saving.

Repeated tests against a 2.5 % bound find a saving sooner or later even without one. The plan therefore fixes the interim
analyses in advance, and their error probabilities add up to 2.5 % (alpha spending): the k-th analysis has 2.5 % / (k (k + 1)).
A plan with a fixed number of pairs has one analysis at its end, an open-ended plan one after every 12 periods.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

PERIODS_PER_ANALYSIS: Final = 12
_MAX_GROWTH: Final = 8  # of a period, relative to the first one
_ERROR_PROBABILITY: Final = 0.025  # of a claim without a saving, over all analyses


@dataclass(frozen=True, slots=True)
class ExperimentPlan:
    """One pair of blocks per period of enforced time.

    Args:
        seed: seed of the random offsets and orders.
        pairs: number of pairs; None: open-ended.
        seconds: minimum duration of a block. A block in which no work completes is extended.
        settle_s: time at the start of each block that is ignored.
        every_s: duration of the first periods; None: the duration of one pair.

    Raises:
        ValueError: no pairs, a settling time as long as the block, or pairs that do not fit into a period.
    """

    seed: int | str
    pairs: int | None
    seconds: float
    settle_s: float
    every_s: float | None = None

    def __post_init__(self) -> None:
        """Validate the plan."""
        is_empty = self.pairs is not None and self.pairs < 1
        does_not_fit = self.every_s is not None and self.every_s < 2 * self.seconds
        if is_empty or does_not_fit or not 0 <= self.settle_s < self.seconds:
            raise ValueError(f"cannot plan {self.pairs} pairs of {self.seconds} s with {self.settle_s} s to settle")

    def is_complete(self, periods: int) -> bool:
        """Whether the plan ends after this number of periods."""
        return self.pairs is not None and periods >= self.pairs

    def period_s(self, number: int) -> float:
        """Duration of a period; the first one has number 0."""
        first_s = 2 * self.seconds if self.every_s is None else self.every_s
        return first_s if self.pairs is not None else first_s * min(_MAX_GROWTH, 1 << number // PERIODS_PER_ANALYSIS)

    def pair_offset_s(self, number: int) -> float:
        """Time from the start of a period to the start of its pair."""
        return (self.period_s(number) - 2 * self.seconds) * self._draw(number, "place") / (1 << 32)

    def is_treatment_first(self, number: int) -> bool:
        """Whether the treatment block precedes the control block. Successive pairs balance each other, so drift cancels."""
        return (self._draw(number // 2, "order") + number) % 2 == 0

    def is_analysis_due(self, periods: int) -> bool:
        """Whether an interim analysis follows this number of periods."""
        return periods == self.pairs if self.pairs is not None else periods > 0 and periods % PERIODS_PER_ANALYSIS == 0

    def error_probability(self, analysis: int) -> float:
        """Probability that an analysis claims a saving that does not exist; the first analysis has number 1."""
        return _ERROR_PROBABILITY / (analysis * (analysis + 1))

    def _draw(self, number: int, purpose: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{number}:{purpose}".encode()).digest()[:4])
