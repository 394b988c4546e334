"""Online model of a server's response to its clock: step time, prefill and power as small linear models. Pure.

With x = f_top / f - 1 for the applied clock f, B decoding sequences and r prompt tokens per step:

    time between two tokens = a0 + a1 B + a2 r, each growing with x
    time to first token of a prompt of p tokens alone = b0 + (b1 + b2 B) p + b3 p^2, each growing with x
    time between two tokens while prompts are computed without a pause = c0 + c1 B + c2 w, growing with x, after w s of work
    power = d0 + d1 h + u (d2 + d3 h) + d4 B h

where h is the dynamic power f V^2 of a GPU whose voltage rises above its knee, relative to the knee's, less 1, and u is the
share of time in which prompts are computed. Where the power limit holds the clock down, f is the observed clock. The growth of
each with x is a prior at first and then learnt; uncertainty is part of every prediction.
"""

from dataclasses import dataclass, field, replace

from dvfs.policies.slo._interval import ServingInterval
from dvfs.policies.slo._linear import Linear, Prior

_VOLTAGE_PER_MHZ, _VOLTAGE_CEILING = 0.0008, 1.45  # typical of data-centre GPUs; observations correct the slope
_GROW, _GROW_PREFILL = 0.6, 0.9  # by how much, with x, before anything is seen
_NO_CAP = 1e9
_B = 64.0  # sequences and
_P = 1000.0  # tokens and
_W = 10.0  # s of work in the features
_GAP = Prior((0.02, 0.02, 0.05, 0.0, 0.0, 0.0), (0.03, 0.03, 0.1, 0.01, 0.01, 0.03))
_FIRST = Prior((0.03, 0.05, 0.02, 0.001, 0.0, 0.0, 0.01), (0.05, 0.1, 0.05, 0.004, 0.05, 0.003, 0.02))
_MIXED = Prior((0.03, 0.02, 0.0, 0.015, 0.01), (0.02, 0.02, 0.015, 0.01, 0.01))
_POWER = Prior((0.25, 0.08, 0.3, 0.08, 0.03), (0.2, 0.05, 0.2, 0.06, 0.03))


Slow = tuple[float, float]
"""x of a lock while prompts are computed, and while none is: the power limit holds down the one more than the other."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks to choose from, in MHz, rising, the last one being the highest of the device."""

    grid_mhz: tuple[int, ...]
    limit_w: float  # of all devices of the group

    def slowness(self, mhz: float) -> float:
        """X of a clock."""
        return self.grid_mhz[-1] / mhz - 1.0

    def heat(self, mhz: float) -> float:
        """H of a clock."""
        knee = self.grid_mhz[0]
        volt = min(_VOLTAGE_CEILING, 1.0 + _VOLTAGE_PER_MHZ * max(0.0, mhz - knee))
        return mhz * volt * volt / knee - 1.0


@dataclass(frozen=True, slots=True)
class LonePrompt:
    """A request whose prompt is computed alone: when it was first seen, x then, and the sum of x since."""

    since_s: float
    first: Slow
    sum_s: Slow


@dataclass(frozen=True, slots=True)
class ServerModel:
    """The learned response of a server to its clock. `capped_mhz`: the power-limited clock with and without prefill."""

    gap: Linear = field(default_factory=lambda: Linear.start(_GAP))
    first: Linear = field(default_factory=lambda: Linear.start(_FIRST))
    mixed: Linear = field(default_factory=lambda: Linear.start(_MIXED))
    mixed_seen: int = 0
    power: Linear = field(default_factory=lambda: Linear.start(_POWER))
    capped_mhz: tuple[float, float] = (_NO_CAP, _NO_CAP)
    solo: LonePrompt | None = None

    def slow(self, clocks: Clocks, lock_mhz: float) -> Slow:
        """X of a lock."""
        return clocks.slowness(self.effective_mhz(lock_mhz, True)), clocks.slowness(self.effective_mhz(lock_mhz, False))

    def gap_s(self, x: Slow, batch: float, top: Slow | None = None) -> float:
        """Time of a step without prompts; with `top` never less than there, and a standard deviation of the growth on top."""
        return _grown(self.gap, _gap_features(x, batch, 0.0), _gap_features(top, batch, 0.0) if top else None)

    def chunk_s(self, x: Slow) -> float:
        """Time that one prompt token adds to a step."""
        return max(0.0, self.gap.at(_gap_features(x, 0.0, 1.0)) - self.gap.at(_gap_features(x, 0.0, 0.0)))

    def first_s(self, x: Slow, prompt: float, batch: float) -> float:
        """Time to compute a prompt alone."""
        return max(1e-3, self.first.at(_first_features(x, prompt, batch)) - self.first.mean[0])

    def speed(self, x: Slow, top: Slow, prompt: float, batch: float) -> float:
        """How fast a prompt is computed, relative to the highest clock."""
        return min(1.0, self.first_s(top, prompt, batch) / self.first_s(x, prompt, batch))

    @property
    def start_s(self) -> float:
        """How long a prompt waits for the step that is under way."""
        return max(0.0, self.first.mean[0])

    def mixed_s(self, x: Slow, batch: float, done_s: float, top: Slow | None = None) -> float:
        """Time of a step while a prompt is computed of which so much work is done; `top` as for `gap_s`."""
        if self.mixed_seen < 5:
            step, token, chunk = self.gap_s(x, batch), self.first_s(x, _P, batch) / _P, self.chunk_s(x)
            return step + chunk * min(8192.0, max(128.0, step / max(1e-6, token - chunk)))
        return _grown(self.mixed, _mixed_features(x, batch, done_s), _mixed_features(top, batch, done_s) if top else None)

    def power_w(self, clocks: Clocks, mhz: float, batch: float, prefill_share: float) -> float:
        """Power of the group at a clock; it never falls with the clock."""
        h = clocks.heat(mhz)
        d0, d1, d2, d3, d4 = self.power.mean
        slope = max(0.01, d1 + d4 * batch / _B) + prefill_share * max(0.01, d3)
        return clocks.limit_w * (d0 + prefill_share * d2 + h * slope)

    def step_w(self, clocks: Clocks, lock_mhz: float, batch: float, prefill_share: float) -> tuple[float, float]:
        """Power of the same work with a lock, over its longer time, and a standard deviation of the clock's effect."""
        mhz, calm = self.effective_mhz(lock_mhz, True), self.effective_mhz(lock_mhz, False)
        x, top = self.slow(clocks, lock_mhz), self.slow(clocks, clocks.grid_mhz[-1])
        longer = self.first_s(x, _P, batch) / self.first_s(top, _P, batch)
        calm_w, prompt_w = self.power_w(clocks, calm, batch, 0.0), self.power_w(clocks, mhz, batch, 1.0)
        taken = min(1.0, prefill_share * longer)
        h = clocks.heat(calm)
        doubt = self.power.std_at((0.0, h, 0.0, taken * h, batch / _B * h))
        return (1.0 - taken) * calm_w + taken * prompt_w, clocks.limit_w * doubt

    def effective_mhz(self, lock_mhz: float, prefill: bool) -> float:
        """The clock that a lock leads to under the power limit."""
        return min(lock_mhz, self.capped_mhz[0 if prefill else 1])

    def add_interval(
        self, interval: ServingInterval, clocks: Clocks, lock_mhz: int, clock_mhz: int, limited: bool, done_s: float
    ) -> "ServerModel":
        """Return the state after an interval at one lock.

        `clock_mhz` is the clock read at its end, `limited` whether power held it there, and `done_s` the work done on the
        oldest prompt at its middle.
        """
        new = self._cap(interval, clock_mhz, limited)
        x = new.slow(clocks, lock_mhz)
        batch, gap = interval.decoding, interval.gap_s
        if gap is not None and interval.gaps >= 10:
            std = 0.05 * gap + 0.001
            if interval.closed:
                steps = interval.seconds / gap
                new = replace(
                    new, gap=new.gap.add_observation(_gap_features(x, batch, interval.prompt_tokens / steps), gap, std)
                )
            elif interval.before.pending and interval.after.pending and not interval.first_tokens:
                new = replace(
                    new,
                    mixed=new.mixed.add_observation(_mixed_features(x, batch, done_s), gap, 2 * std),
                    mixed_seen=new.mixed_seen + 1,
                )
        new = new._first_token(interval, x)
        return new._power(interval, clocks, lock_mhz, x)

    def _cap(self, interval: ServingInterval, clock_mhz: int, limited: bool) -> "ServerModel":
        place = 0 if interval.after.pending or interval.first_tokens else 1
        caps = list(self.capped_mhz)
        sure = interval.before.pending and interval.after.pending if place == 0 else interval.closed
        if limited:
            caps[place] = clock_mhz if caps[place] >= _NO_CAP else caps[place] + 0.2 * (clock_mhz - caps[place])
        elif sure and clock_mhz > caps[place]:  # nothing holds it down any more
            caps[place] += 0.2 * (clock_mhz - caps[place])
        return replace(self, capped_mhz=(caps[0], caps[1]))

    def _first_token(self, interval: ServingInterval, x: Slow) -> "ServerModel":
        """Learn from requests that had the prefill to themselves, and follow the one that has it now."""
        before, after, dt = interval.before, interval.after, interval.seconds
        new = self
        if interval.first_tokens == 1 and interval.ttft_sum_s > 0 and interval.prompt_tokens > 0:
            took = interval.ttft_sum_s
            mean_x: Slow | None = None
            if before.pending == 0 and after.pending == 0 and interval.arrived == 1:
                mean_x = x
            elif self.solo is not None and before.pending == 1:
                known_s = before.at_s - self.solo.since_s
                rest_s, whole_s = max(0.0, took - known_s), max(took, known_s, 1e-6)
                of = zip(self.solo.sum_s, self.solo.first, x, strict=True)
                mean_x = tuple((known + rest_s * (first + last) / 2) / whole_s for known, first, last in of)  # type: ignore[assignment]
            if mean_x is not None:
                features = _first_features(mean_x, interval.prompt_tokens, interval.decoding)
                new = replace(new, first=new.first.add_observation(features, took, 0.1 * took + 0.02))
        if after.pending == 1 and before.pending == 0 and interval.arrived == 1:
            return replace(new, solo=LonePrompt(after.at_s, x, (0.0, 0.0)))
        if self.solo is not None and after.pending == 1 and before.pending == 1 and not interval.first_tokens:
            return replace(new, solo=replace(self.solo, sum_s=(self.solo.sum_s[0] + x[0] * dt, self.solo.sum_s[1] + x[1] * dt)))
        return replace(new, solo=None)

    def _power(self, interval: ServingInterval, clocks: Clocks, lock_mhz: int, x: Slow) -> "ServerModel":
        if interval.power_w is None or not (interval.gaps or interval.first_tokens or interval.after.pending):
            return self
        batch = interval.decoding
        if interval.closed:
            share = (
                min(1.0, self.first_s(x, 1.0, batch) * interval.prompt_tokens / interval.seconds)
                if interval.first_tokens
                else 0.0
            )
        elif interval.before.pending and interval.after.pending:
            share = 1.0
        else:
            return self
        h = clocks.heat(self.effective_mhz(lock_mhz, share > 0.5))
        features = (1.0, h, share, share * h, batch / _B * h)
        return replace(self, power=self.power.add_observation(features, interval.power_w / clocks.limit_w, 0.05))


def _gap_features(x: Slow, batch: float, per_step: float) -> tuple[float, ...]:
    b, r = batch / _B, per_step / _P
    prefill, decode = x
    grow = 1 + _GROW * decode
    return (grow, b * grow, r * (1 + _GROW_PREFILL * prefill), decode, b * decode, r * prefill)


def _first_features(x: Slow, prompt: float, batch: float) -> tuple[float, ...]:
    p, grow = prompt / _P, 1 + _GROW_PREFILL * x[0]
    return (1.0, p * grow, p * grow * batch / _B, p * p * grow, p * x[0], p * p * x[0], p * (1 + _GROW * x[1]))


def _mixed_features(x: Slow, batch: float, done_s: float) -> tuple[float, ...]:
    grow, prefill = 1 + _GROW * x[1], 1 + _GROW_PREFILL * x[0]
    return (prefill, batch / _B * grow, x[0], grow, done_s / _W * prefill)


def _grown(linear: Linear, features: tuple[float, ...], top: tuple[float, ...] | None) -> float:
    if top is None:
        return max(1e-4, linear.at(features))
    change = [a - b for a, b in zip(features, top, strict=True)]
    return max(1e-4, linear.at(top)) + max(0.0, linear.at(change) + linear.std_at(change))
