"""Open prompts of a server: remaining work, and lateness relative to the highest clock. Pure.

All work is in seconds at the highest clock; at speed v of a clock it takes 1/v times as long. Lateness is the time by which the
open prompts are behind their progress at the highest clock: its contribution to times to first token is the cost of the applied
clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dvfs.policies.slo._interval import ServingInterval
from dvfs.policies.slo._response import ServerModel, Slow
from dvfs.policies.slo._traffic import Traffic

PERIOD_S = 1.0
"""How often the policy decides."""


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """The latency limits of a request in s, as the owner wrote them, for prompts of any length. None: no limit."""

    ttft_s: float | None
    itl_s: float | None

    @property
    def first_s(self) -> float:
        """Limit of the time to first token; infinite if there is no limit."""
        return float("inf") if self.ttft_s is None else self.ttft_s


@dataclass(frozen=True, slots=True)
class OpenPrompts:
    """Open prompts, in s: work done on the oldest, time since it was first seen, and the server's lateness.

    `fresh`: the oldest was not open at the previous reading. `quiet`: steps since the last first token, the same for all
    decoding requests.
    """

    done_s: float = 0.0
    seen_s: float = 0.0
    late_s: float = 0.0
    fresh: bool = True
    quiet: float = 0.0


@dataclass(frozen=True, slots=True)
class PromptLength:
    """A prompt length in tokens that represents similar ones: its work, and the limit of its first token."""

    prompt: float
    work_s: float
    limit_s: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible oldest open prompt: its probability, limit, work left, and time since its arrival."""

    weight: float
    limit_s: float
    left_s: float
    age_s: float


def lengths(
    traffic: Traffic, response: ServerModel, limits: LatencyLimits, x: Slow, batch: float, most: int
) -> list[PromptLength]:
    """Prompt lengths seen, as work at the highest clock, whose x is given."""
    return [PromptLength(p, response.first_s(x, p, batch), limits.first_s) for p in traffic.lengths(most)]


def mean_work_s(lengths: Sequence[PromptLength]) -> float:
    """Work of a prompt in the mean."""
    return sum(one.work_s for one in lengths) / len(lengths)


def followed(
    now: OpenPrompts, interval: ServingInterval, response: ServerModel, traffic: Traffic, x: Slow, top: Slow
) -> OpenPrompts:
    """What is open after an interval at one lock. `x` belongs to that lock, `top` to the highest clock."""
    dt, batch, first = interval.seconds, interval.decoding, interval.first_tokens
    quiet = 0.0 if first else now.quiet + (dt / interval.gap_s if interval.gap_s else 0.0)
    if not interval.after.pending:
        return OpenPrompts(quiet=quiet)
    work = [response.first_s(top, p, batch) for p in traffic.lengths(8)]
    speed = response.speed(x, top, traffic.typical, batch)
    done_s = first * response.first_s(top, interval.prompt_tokens / first, batch) if first else dt
    if not interval.before.pending or done_s < 0.9 * speed * dt:  # the server was free in between
        spans = [min(dt, w / speed) for w in work]
        age_s, waiting = sum(s * s for s in spans) / sum(spans) / 2, interval.after.pending
        if waiting > 1:  # they came while it was busy: the first of so many in the interval, before this
            age_s = max(age_s, dt * waiting / (waiting + 1))
        return OpenPrompts(late_s=age_s * (1.0 - speed), quiet=quiet)
    late_s = now.late_s + dt * (1.0 - speed)
    if first:
        return OpenPrompts(late_s=late_s, quiet=quiet)
    return OpenPrompts(now.done_s + dt * speed, now.seen_s + dt, late_s, fresh=False, quiet=quiet)


def oldest(short: Sequence[PromptLength], now: OpenPrompts, v: float) -> list[Candidate]:
    """A prompt that was still open when we looked is a long one the more likely; it came up to a second before it was seen."""
    candidates = []
    for one in short:
        if now.fresh:
            span = min(PERIOD_S, one.work_s / v)
            candidates.append((span, one.limit_s, one.work_s - span * v / 2, span / 2))
        elif one.work_s > now.done_s:
            span = min(PERIOD_S, (one.work_s - now.done_s) / v)
            candidates.append((span, one.limit_s, one.work_s - now.done_s - span * v / 2, now.seen_s + span / 2))
    if not candidates:  # longer than any before
        last = short[-1]
        grown = last.limit_s * max(1.0, 1.5 * now.done_s / last.work_s)
        return [Candidate(1.0, grown, 0.5 * now.done_s + 0.1, now.seen_s + PERIOD_S / 2)]
    total = sum(f[0] for f in candidates)
    return [Candidate(f[0] / total, f[1], f[2], f[3]) for f in candidates]


def estimate_attainment(
    interval: ServingInterval, traffic: Traffic, response: ServerModel, clocks: tuple[Slow, Slow], fresh: bool, batch: float
) -> tuple[float, float]:
    """Requests that came while the server would have been busy at its highest clock, and how many independent ones would have.

    `clocks` are the applied and the highest one. If a prompt takes longer than an interval, requests that arrive during the
    first prompt are counted. Otherwise, and if none was open, the estimate is the wait of first tokens beyond their own work
    and beyond the wait that a router causes because it expects full speed: with load rho and service S, the mean wait of
    independent requests is rho E[S^2] / (2 E[S] (1 - rho)) (Pollaczek and Khinchine).
    """
    n, before = interval.first_tokens, interval.before.pending
    prompts = traffic.lengths(8)
    took, fast = ([response.first_s(x, p, batch) for p in prompts] for x in clocks)
    mean_s, count = sum(took) / len(took), len(took)
    rest_s = sum(t * t for t in took) / count / (2.0 * mean_s)
    if rest_s > interval.seconds:
        return (float(interval.arrived), traffic.mean_rate * interval.seconds) if before == 1 and fresh else (0.0, 0.0)
    if before or not n or not interval.prompt_tokens:
        return 0.0, 0.0
    load = min(0.9, traffic.rate * mean_s)
    unseen_s = traffic.rate * sum((t - f) ** 2 for t, f in zip(took, fast, strict=True)) / count / 2.0
    alone_s = response.first_s(clocks[0], interval.prompt_tokens / n, batch) + response.start_s + unseen_s
    return (interval.ttft_sum_s - n * alone_s) * (1.0 - load) / rest_s, n * load
