"""Expected limit misses and energy over the next second with each clock. Pure.

All work is in seconds at the highest clock; at speed v of a clock it takes 1/v times as long. The estimate covers:

- first tokens of open and future requests: simulated by `_ahead`.
- lateness: time by which the open prompts are behind their progress at the highest clock. It is kept below a share of the wait
  that short prompts tolerate.
- answers: all sequences of a batch get their tokens together, so the mean time between tokens of a request that ends soon is
  that of the last steps, as many as its answer is long. Lengths of answers are assumed to spread around their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, expm1, sqrt

from dvfs.policies.slo._account import StepTimes, answers
from dvfs.policies.slo._ahead import Scene, misses
from dvfs.policies.slo._interval import ServerReading
from dvfs.policies.slo._open import PERIOD_S, Candidate, LatencyLimits, OpenPrompts, PromptLength, lengths, mean_work_s, oldest
from dvfs.policies.slo._response import Clocks, ServerModel, Slow
from dvfs.policies.slo._traffic import Traffic

_PATIENCE = 0.8  # share of what short prompts can wait, by which the server may be late
_AGES = (1 / 6, 1 / 2, 5 / 6)  # of an answer
_SPREAD = 0.05  # of the limit, by which requests differ from the mean of their batch


@dataclass(frozen=True, slots=True)
class Outlook:
    """One clock, over the next second: W, and misses of the first and of later tokens. `late`: too late with it."""

    watts: float
    first: float
    later: float
    late: bool


def outlook(
    reading: ServerReading,
    traffic: Traffic,
    response: ServerModel,
    clocks: Clocks,
    limits: LatencyLimits,
    now: OpenPrompts,
    steps: Sequence[StepTimes],
    level: int,
) -> list[Outlook]:
    """For each clock of the grid. `steps` are those before, `level` the clock till now."""
    batch, pending = reading.decoding, reading.pending
    xs = [response.slow(clocks, f) for f in clocks.grid_mhz]
    short = lengths(traffic, response, limits, xs[-1], batch, 8)
    every = lengths(traffic, response, limits, xs[-1], batch, 64)
    mean_s = mean_work_s(every)
    speeds = [response.speed(x, xs[-1], traffic.typical, batch) for x in xs]
    ages = traffic.ages(reading.at_s)
    front: list[Candidate] = []
    left_s = 0.0
    if pending:
        front = oldest(lengths(traffic, response, limits, xs[-1], batch, 16), now, speeds[level])
        left_s = sum(c.weight * c.left_s for c in front)
    work_s = left_s + max(0, pending - 1) * mean_s
    waits = sorted(max(0.0, one.limit_s - one.work_s) for one in short)
    patience_s = _PATIENCE * waits[len(waits) // 5]
    firsts = [0.0] * len(xs)
    if limits.ttft_s is not None:
        clustering = traffic.clustering if pending < 2 else 1.0  # where many wait, no router spares this one
        scene = Scene(front, ages[1:6], every, max(0.01, traffic.rate), clustering, now.late_s, now.done_s, response.start_s)
        rounded = [max(0.05, round(v, 2)) for v in speeds]  # clocks that a power limit makes alike are played out once
        distinct = sorted(set(rounded))
        missed = misses(scene, distinct, reading.first_tokens * 61 + reading.requests * 7)
        firsts = [missed[distinct.index(v)] for v in rounded]
    held = _weigh_decoding(steps, traffic.answer, now.quiet) if limits.itl_s is not None and batch else []
    outlooks = []
    for place, lock in enumerate(clocks.grid_mhz):
        v, late = speeds[place], False
        if limits.ttft_s is not None and pending:
            late = now.late_s + min(PERIOD_S, work_s / v) * (1.0 - v) > patience_s
        later = 0.0
        if limits.itl_s is not None and batch:
            later = _later_misses(reading, traffic, response, limits.itl_s, held, now, xs[place], xs, work_s, every)
        watts = _watts(response, clocks, lock, batch, pending, work_s, traffic.rate * mean_s, v, speeds[0])
        outlooks.append(Outlook(watts, firsts[place], later, late))
    return outlooks


Held = tuple[float, float, float, float]
"""An answer that is being generated: its length in tokens, its weight, the time of its steps so far, and how many they are."""


def _weigh_decoding(steps: Sequence[StepTimes], answer: float, quiet: float) -> list[Held]:
    """What those that decode may be: the longer answers the more likely, each at any age but the last `quiet` steps."""
    lengths_left = [(n, weight * (n - quiet)) for n, weight in answers(answer) if n > quiet]
    whole = sum(weight for _, weight in lengths_left) * len(_AGES)
    return [(n, weight / whole, *_past(steps, quiet + part * (n - quiet))) for n, weight in lengths_left for part in _AGES]


def _later_misses(
    reading: ServerReading,
    traffic: Traffic,
    response: ServerModel,
    limit_s: float,
    decoding: Sequence[Held],
    now: OpenPrompts,
    x: Slow,
    xs: Sequence[Slow],
    work_s: float,
    every: Sequence[PromptLength],
) -> float:
    """Of requests that decode now, with this clock for a second and the highest one for prompts afterwards.

    The mean of a request is over its steps before, those of this second, and those to come. The length of its answer is
    unknown, so each length above its present one counts as often as it occurs.
    """
    batch, top = reading.decoding, xs[-1]
    pure, mixed = response.gap_s(x, batch, top), response.mixed_s(x, batch, now.done_s, top)
    fastest = response.mixed_s(top, batch, now.done_s)
    mixed = max(pure, mixed)
    mean_s, square_s = mean_work_s(every), sum(one.work_s**2 for one in every) / len(every)
    calm, often = response.gap_s(xs[0], batch, top), response.mixed_s(top, batch, square_s / mean_s / 2)
    busy = min(0.9, traffic.rate * mean_s)
    usual = 1.0 / ((1.0 - busy) / calm + busy / max(calm, often))
    squares = square_s / often**2 * max(0.0, often - calm) ** 2
    # A prompt takes as many steps whatever the clock.
    rate = max(1e-6, traffic.rate)
    some = -expm1(-rate * PERIOD_S) if not work_s else 1.0
    prompt_steps = (work_s + traffic.open_rate * mean_s / 2) / fastest if work_s else rate * mean_s / some / fastest
    kinds = [kind for kind in ((some, prompt_steps), (1.0 - some, 0.0)) if kind[0]]
    most_slow, least, root, arriving = PERIOD_S / mixed, (limit_s * _SPREAD) ** 2, sqrt(2.0), traffic.rate
    missed = 0.0
    for (
        n,
        weight,
        past,
        counted,
    ) in decoding:  # some hundred times for each clock and second: comparisons, as min() takes thrice as long
        left = n - counted
        for chance, in_prompt in kinds:
            slow = in_prompt if in_prompt < most_slow else most_slow
            slow = left if left < slow else slow
            calm_now, remaining = (PERIOD_S - slow * mixed) / pure, left - slow
            calm_now = 0.0 if calm_now < 0.0 else remaining if remaining < calm_now else calm_now
            after, rest = remaining - calm_now, in_prompt - slow
            rest = 0.0 if rest < 0.0 else after if after < rest else rest
            free = (after - rest) * usual
            total = past + slow * mixed + calm_now * pure + rest * fastest + free
            spread = sqrt(least + arriving * free * squares / (n * n))
            missed += chance * weight * 0.5 * erfc((limit_s - total / n) / (spread * root))
    return missed * batch


def _past(steps: Sequence[StepTimes], age: float) -> tuple[float, float]:
    """Time of the last steps, and how many they are: `age`, or all that are known."""
    total = counted = 0.0
    for one in reversed(steps):
        take = min(one.count, age - counted)
        if take <= 0:
            break
        total, counted = total + take * one.gap_s, counted + take
    return total, counted


def _watts(
    response: ServerModel,
    clocks: Clocks,
    lock: int,
    batch: int,
    pending: int,
    work_s: float,
    load: float,
    v: float,
    slowest: float,
) -> float:
    """Power over the next second, less what prompts computed in it would cost later at the lowest clock."""
    knee = clocks.grid_mhz[0]
    prefill = response.effective_mhz(lock, True)
    calm = response.power_w(clocks, response.effective_mhz(lock, False), batch, 0.0)
    worth = (response.power_w(clocks, knee, batch, 1.0) - response.power_w(clocks, knee, batch, 0.0)) / slowest
    share = min(1.0, (work_s if pending else 0.0) / v + 0.5 * load / v)
    return (1.0 - share) * calm + share * (response.power_w(clocks, prefill, batch, 1.0) - worth * v)
