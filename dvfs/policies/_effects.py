"""Effects of settings on time and power, and an account of a whole run's slowdown, from alternating blocks of samples. Pure.

Every block at a setting is compared with the reference (the original setting) at the same time: the level between the two
reference blocks around it, by linear interpolation of logarithms. So drift of the workload or of the temperature cancels, as in
paired comparisons. A setting's effect is the mean of its differences, weighted by samples.

The account adds up the time beyond the reference's, in samples of the first reference block. Its variance is that of a sum
with known weights: each block contributes w^2 / n, and each reference block the square of all the work compared with it, over
its own n, times the variance of a sample. That is estimated within blocks and, so that slow noise counts, from the scatter
between blocks of one setting; the larger one counts.

A block far from its setting's effect is set aside until the reference has been measured again. If it is far from that too, the
workload responds differently: all effects are dropped, the account stays. So they are after a step of the reference itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import NamedTuple

_OUTLIER_SD = 4.0  # a sample so far from the median is a stall: 1 in 16,000 of normal ones
_FAR_SD, _FAR_LEAST = 5.0, 0.01  # a block so far from its effect is set aside, unless that is less than 1 %
_FAR_SAMPLES = (3, 12)  # of the block and of the effect, below which nothing is set aside: fewer may all be stalls
_STEP = 0.1  # a larger change of level between two reference blocks is a step, not a drift: other work
_PRIOR_BLOCKS = 4  # weight of the scatter within blocks in the estimate between them
_LEAST_SD = 1e-4  # counters resolve no less


class Block(NamedTuple):
    """Mean logarithms of time per work and of power over some samples; `at` is its middle, in samples of the run."""

    setting: float
    samples: float
    time: float
    power: float
    at: float


class SettingEffect(NamedTuple):
    """Mean differences of both logarithms from the reference's."""

    samples: float = 0
    time: float = 0.0
    power: float = 0.0

    def add(self, samples: float, time: float, power: float) -> "SettingEffect":
        """With another block."""
        n = self.samples + samples
        return SettingEffect(n, self.time + (time - self.time) * samples / n, self.power + (power - self.power) * samples / n)

    @property
    def energy(self) -> float:
        """Difference of the logarithm of energy per work."""
        return self.time + self.power


@dataclass(frozen=True, slots=True)
class Measurements:
    """Effects and account. `pending` are the blocks since `near`, the last reference block, which wait for the next one."""

    reference: float
    near: Block | None = None
    pending: tuple[Block, ...] = ()
    aside: tuple[Block, tuple[float, ...]] | None = None  # with the logarithms of its times
    effects: Mapping[float, SettingEffect] = field(default_factory=dict)
    samples: int = 0
    first_time: float = 0.0  # of the first reference block
    work: float = 0.0  # the account, in samples of the first reference block: work done,
    excess: float = 0.0  # time beyond the reference's,
    variance: float = 0.0  # and that of the excess, over the variance of a sample
    weight: float = 0.0  # work compared with `near` so far
    within: tuple[float, float] = (0.0, 0.0)  # sum of squares and degrees of freedom
    between: tuple[float, float] = (0.0, 0.0)

    @property
    def sd(self) -> float:
        """Standard deviation of a sample's logarithm of time."""
        within_variance = self.within[0] / max(1.0, self.within[1])
        return max(
            _LEAST_SD,
            math.sqrt(
                max(within_variance, (self.between[0] + _PRIOR_BLOCKS * within_variance) / (self.between[1] + _PRIOR_BLOCKS))
            ),
        )

    @property
    def scale(self) -> float:
        """Present duration of a sample of the reference, in those of the first one."""
        return math.exp(self.near.time - self.first_time) if self.near is not None else 1.0

    def now(self) -> "Measurements":
        """With the pending blocks compared with the last reference block alone."""
        return self if self.near is None else self._close(self.near._replace(samples=0))

    def learn(self, setting: float, step_s: Sequence[float], power_w: Sequence[float]) -> "Measurements":
        """With a block of samples: times per work in s and powers in W.

        Raises:
            ValueError: not as many times as powers, none, or one that is not above 0.
        """
        if not step_s or len(step_s) != len(power_w) or not all(0 < x < math.inf for x in (*step_s, *power_w)):
            raise ValueError("a trial needs one time per power value, all above 0")
        logs = [math.log(x) for x in step_s]
        times, powers = _typical(logs, self.sd), _typical([math.log(x) for x in power_w], self.sd)
        n, time, power = len(logs), math.fsum(times) / len(times), math.fsum(powers) / len(powers)
        squares, free = math.fsum((x - time) ** 2 for x in times), len(times) - 1
        block = Block(setting, n, time, power, self.samples + n / 2)
        self = replace(self, samples=self.samples + n, within=(self.within[0] + squares, self.within[1] + free))
        if self.near is None:
            return replace(self, near=block, first_time=time)._close(block) if setting == self.reference else self
        if self.aside is not None:
            return replace(self, aside=None)._judge(*self.aside, block)
        if self._is_far(block, self.near):
            return replace(self, aside=(block, tuple(logs)))
        return self._close(block) if setting == self.reference else replace(self, pending=(*self.pending, block))

    def _is_far(self, block: Block, near: Block) -> bool:
        effect = (
            SettingEffect(self.samples)
            if block.setting == self.reference
            else self.now().effects.get(block.setting, SettingEffect())
        )
        if block.samples < _FAR_SAMPLES[0] or effect.samples < _FAR_SAMPLES[1]:
            return False
        sd = self.sd * math.sqrt(1 / block.samples + 1 / near.samples + 1 / effect.samples)
        off = max(abs(block.time - near.time - effect.time), abs(block.power - near.power - effect.power))
        return off > max(_FAR_SD * sd, _FAR_LEAST)

    def _judge(self, doubt: Block, logs: Sequence[float], block: Block) -> "Measurements":
        """With the block that was set aside, now that the reference has been measured after it."""
        near = self.near
        assert near is not None
        if doubt.setting == self.reference:
            if _distance(block, near) < _distance(block, doubt):  # a disturbance: it counts as work only
                return replace(self, pending=(*self.pending, doubt))._close(block)
            done = self._close(doubt)
            return replace(done, effects={} if _distance(block, near) > _STEP else done.effects)._close(block)
        is_changed = self._is_far(doubt, block)
        if not is_changed and abs(block.time - near.time) <= _STEP:
            return replace(self, pending=(*self.pending, doubt))._close(block)
        # The level changed within the block that was set aside: only its later samples belong to the new one.
        done = self.now()
        before = near.time + done.effects[doubt.setting].time
        later = [x for x in logs if abs(x - block.time) < abs(x - before)] or logs
        doubt = doubt._replace(samples=len(later), time=math.fsum(later) / len(later), at=block.at)
        effects = {} if is_changed else done.effects
        return replace(done, effects=effects, near=block._replace(at=block.at - 1), pending=(doubt,))._close(block)

    def _close(self, block: Block) -> "Measurements":
        """With a reference block: the pending ones are compared. One without samples repeats the last level."""
        near, effects = self.near, dict(self.effects)
        assert near is not None
        work, excess, variance, before, after = self.work, self.excess, self.variance, self.weight, 0.0
        errors, blocks = self.between
        is_flat = not block.samples or abs(block.time - near.time) > _STEP
        for one in self.pending:
            part = 0.0 if is_flat else (one.at - near.at) / (block.at - near.at)
            time, power = near.time + part * (block.time - near.time), near.power + part * (block.power - near.power)
            worth = one.samples * math.exp(time - self.first_time)
            work += worth
            if one.setting == self.reference:
                continue
            effect, slower = effects.get(one.setting, SettingEffect()), one.time - time
            if effect.samples:
                unit = 1 / one.samples + 1 / effect.samples + (1 - part) ** 2 / near.samples + part**2 / max(1, block.samples)
                errors, blocks = errors + (slower - effect.time) ** 2 / unit, blocks + 1
            effects[one.setting] = effect.add(one.samples, slower, one.power - power)
            excess += worth * math.expm1(slower)
            variance += worth**2 / one.samples
            before, after = before + worth * (1 - part), after + worth * part
        return replace(
            self,
            near=block,
            pending=(),
            effects=effects,
            work=work + block.samples * math.exp(block.time - self.first_time),
            excess=excess,
            variance=variance + before**2 / near.samples,
            weight=after,
            between=(errors, blocks),
        )


def _distance(a: Block, b: Block) -> float:
    return max(abs(a.time - b.time), abs(a.power - b.power))


def _typical(values: Sequence[float], sd: float) -> list[float]:
    """Without outliers, by the median absolute deviation; of few values that may be too small by chance, so `sd` at least."""
    middle = median(values)
    reach = _OUTLIER_SD * max(sd, 1.4826 * median(abs(x - middle) for x in values))
    return [x for x in values if abs(x - middle) <= reach]
