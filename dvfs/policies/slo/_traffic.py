"""A server's traffic, learnt from its counters: request rate, lengths of prompts and answers, and waiting requests. Pure."""

from bisect import bisect_left, insort
from dataclasses import dataclass, replace
from math import exp

from dvfs.policies.slo._interval import ServingInterval

KEPT = 128  # prompts that are remembered
_ALONE = 16
_PENDING_KEPT = 64
_ANSWERS_S = 300.0  # time constant for the length of answers
_SLOW_S = 600.0  # and of how arrivals cluster
_FAST_S = 15.0  # the rate of arrivals follows within this, or about 15 requests
_FAST_REQUESTS = 15.0
_PRIOR_PROMPT = 1024.0
_PRIOR_ANSWER = 200.0
_PRIOR_S = 10.0
_PRIOR_MET = 3.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """The state.

    Args:
        seconds, requests: watched so far.
        rate: requests a second, of late.
        prompts: lengths in tokens, in order of time; `ordered` the same by length.
        alone: how many of them came when no other did.
        answers, answered: tokens generated and requests ended, fading.
        since: when those that have no first token yet came, oldest first, in s; known to half an interval.
        open_s, open_arrived: fading time in which a prompt was open from end to end, and requests that came in it.
        met, met_expected: requests that came while another was served, and how many independent ones would have.
    """

    seconds: float = 0.0
    requests: float = 0.0
    rate: float = 0.0
    prompts: tuple[float, ...] = ()
    ordered: tuple[float, ...] = ()
    alone: int = 0
    answers: float = 0.0
    answered: float = 0.0
    since: tuple[float, ...] = ()
    open_s: float = 0.0
    open_arrived: float = 0.0
    met: float = 0.0
    met_expected: float = 0.0

    @property
    def answer(self) -> float:
        """Mean length of an answer in tokens."""
        return max(2.0, (self.answers + 5 * _PRIOR_ANSWER) / (self.answered + 5))

    @property
    def mean_rate(self) -> float:
        """Requests a second since the beginning."""
        return (self.requests + 1.0) / (self.seconds + 4.0)

    @property
    def open_rate(self) -> float:
        """Requests a second while a prompt is open: behind a router that spares busy servers less than the mean."""
        return (self.open_arrived + _PRIOR_S * self.mean_rate) / (self.open_s + _PRIOR_S)

    @property
    def clustering(self) -> float:
        """How many requests meet another, relative to independent ones: few where a router spares busy servers."""
        return min(4.0, max(0.02, (self.met + _PRIOR_MET) / (self.met_expected + _PRIOR_MET)))

    def meeting(self, seconds: float, met: float, expected: float) -> "Traffic":
        """With those that met another in an interval, and how many independent ones would have."""
        fade = exp(-seconds / _SLOW_S)
        return replace(self, met=self.met * fade + met, met_expected=self.met_expected * fade + expected)

    def lengths(self, most: int) -> tuple[float, ...]:
        """Up to `most` prompt lengths that stand for the distribution, each with equal weight."""
        n = len(self.ordered)
        if not n:
            return (_PRIOR_PROMPT,)
        if n <= most:
            return self.ordered
        return tuple(self.ordered[int((i + 0.5) * n / most)] for i in range(most))

    @property
    def typical(self) -> float:
        """Mean length of a prompt in tokens."""
        few = self.lengths(8)
        return max(1.0, sum(few) / len(few))

    def ages(self, now_s: float) -> tuple[float, ...]:
        """How long each without a first token has waited, oldest first."""
        return tuple(max(0.0, now_s - at) for at in self.since)

    def add_interval(self, interval: ServingInterval) -> "Traffic":
        """Return the state after another interval."""
        dt, arrived = interval.seconds, interval.arrived
        seconds, requests = self.seconds + dt, self.requests + arrived
        mean = (requests + 1.0) / (seconds + 4.0)
        tau = min(60.0, max(_FAST_S, _FAST_REQUESTS / max(0.05, mean)))
        step = max(1.0 - exp(-dt / tau), min(1.0, dt / seconds))
        fade, slow = exp(-dt / _ANSWERS_S), exp(-dt / _SLOW_S)
        new = replace(
            self._prompts(interval),
            seconds=seconds,
            requests=requests,
            rate=self.rate + step * (arrived / dt - self.rate),
            answers=self.answers * fade + interval.tokens,
            answered=self.answered * fade + interval.requests,
            since=self._since(interval),
        )
        if interval.before.pending and not interval.first_tokens:
            return replace(new, open_s=self.open_s * slow + dt, open_arrived=self.open_arrived * slow + arrived)
        return new

    def _prompts(self, interval: ServingInterval) -> "Traffic":
        """If several prompts ended in one interval, only their mean is known, which does not show how long single ones are.

        So they count only while few single prompts have been seen, and then spread around their mean.
        """
        n = interval.first_tokens
        if not n or (n > 1 and self.alone >= _ALONE):
            return self
        mean = max(1.0, interval.prompt_tokens / n)
        prompts, ordered = [*self.prompts], [*self.ordered]
        for prompt in (mean,) if n == 1 else (0.5 * mean, 1.5 * mean):
            prompts.append(prompt)
            insort(ordered, prompt)
            if len(prompts) > KEPT:
                del ordered[bisect_left(ordered, prompts.pop(0))]
        return replace(self, prompts=tuple(prompts), ordered=tuple(ordered), alone=self.alone + (n == 1))

    def _since(self, interval: ServingInterval) -> tuple[float, ...]:
        middle = interval.after.at_s - interval.seconds / 2
        since = (*self.since, *([middle] * min(interval.arrived, _PENDING_KEPT)))
        since = since[min(interval.first_tokens, len(since)) :]
        pending = interval.after.pending
        if len(since) < pending:
            since = (*([middle] * min(pending - len(since), _PENDING_KEPT)), *since)
        return since[len(since) - min(pending, len(since), _PENDING_KEPT) :] if pending else ()
