"""The verdict on a run of a drawn site: points of attainment lost, and the best fixed clock to compare with. Pure.

The bar is the user's target wherever the highest clock reaches it, else 0.1 points below the highest clock's attainment, for
both limits apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dvfs.replay.serving.drawn import RandomReplica
from dvfs.replay.serving.plant import (
    Arrival,
    Choose,
    FixedClocks,
    MakeChoose,
    ProtocolPolicy,
    RatesCache,
    Role,
    ServingSite,
    SiteOutcome,
    serve,
)
from dvfs.types import DvfsPolicy

MARGIN = 0.001
_ENOUGH_FAILURES = 2  # clocks in a row below which no lower one is tried


@dataclass(frozen=True, slots=True)
class SloTarget:
    """Limits of a request, and the share of requests that has to stay within each."""

    ttft_s: float
    itl_s: float
    attainment_ratio: float = 0.99

    def attained(self, outcome: SiteOutcome) -> tuple[float, float]:
        """Shares of requests within the limits of the first token and of the mean time between tokens."""
        return outcome.attainment(self.ttft_s, self.itl_s)


def lost_points(own: tuple[float, float], top: tuple[float, float], target: float) -> float:
    """Points of the worse attainment below the target, or below the highest clock's where that misses it."""
    return 100 * max(0.0, *(min(target, best) - mine for mine, best in zip(own, top, strict=True)))


def is_short(own: tuple[float, float], top: tuple[float, float], target: float) -> bool:
    """Whether an attainment misses the bar."""
    return any(mine < (target if best >= target else best - MARGIN) - 1e-9 for mine, best in zip(own, top, strict=True))


def best_fixed(
    site: ServingSite, arrivals: Sequence[Arrival], slo: SloTarget, top: SiteOutcome, cache: RatesCache
) -> tuple[FixedClocks, SiteOutcome]:
    """The constant clocks of least energy that keep the bar, chosen with the whole run known, and their run.

    Separate pools have a clock each, chosen one after the other: each latency depends on one of them alone.
    """
    settings, attained = site.spec.gpu.settings, slo.attained(top)
    roles: tuple[Role, ...] = ("prefill", "decode") if site.prefill else ("both",)
    best: tuple[FixedClocks, SiteOutcome] = (dict.fromkeys(roles, settings[-1]), top)
    for role in roles:
        others, failures = best[0], 0
        for mhz in reversed(settings[:-1]):
            clocks = {**others, role: mhz}
            outcome = serve(site, arrivals, clocks, cache)
            if is_short(slo.attained(outcome), attained, slo.attainment_ratio):
                failures += 1
                if failures == _ENOUGH_FAILURES:
                    break
            elif outcome.energy_j < best[1].energy_j:
                best = clocks, outcome
    return best


def under_policy(policy: DvfsPolicy, spec: RandomReplica, slo: SloTarget, period_s: float) -> MakeChoose:
    """A policy behind the protocol, one instance for each replica."""
    limits = {"ttft_ms": 1e3 * slo.ttft_s, "itl_ms": 1e3 * slo.itl_s, "attainment": slo.attainment_ratio}

    def make(role: Role) -> Choose:
        start = {"settings": list(spec.gpu.settings), "slo": limits, "period_s": period_s, "gpus": 1, "role": role}
        return ProtocolPolicy(policy, start).choose

    return make
