"""The price of a token: energy of an engine over an hour, divided among the tokens that it computed and generated. Pure.

Let E be the energy of the engine while kernels ran, C the prompt tokens that it computed and G the tokens that it generated
in the hour, and s the share of prompts in E. A computed prompt token costs s E / C, a generated token (1 - s) E / G, and a
cached prompt token nothing: what it costs to read it is in the tokens that use it. So the prices times the tokens of all
requests of an hour are E, exactly: prices are fractions of whole microjoules. Energy of the idle engine belongs to no request
and is a row of its own.

s comes from the fitted joules per computed and generated token (`Split`): s = p C / (p C + g G). Without a fit all computed
tokens cost the same, s = C / (C + G), and the bounds are those of every possible s.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, Self

from energy_agent.core.units import UJ_PER_J
from energy_agent.core.workloads.serving import Split
from energy_agent.core.workloads.tokens import Latencies

Kind = Literal["prompt", "cached", "generation"]
KINDS: Final[tuple[Kind, ...]] = ("prompt", "cached", "generation")
_ROUND: Final = 10**9
"""Denominator of s: finer than any fit, and small enough that fractions stay short."""


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """Tokens of a request, or of all requests of an engine: computed prompt tokens, prompt tokens from a cache, generated."""

    computed: int = 0
    cached: int = 0
    generated: int = 0

    def plus(self, other: Self) -> Self:
        """The sum."""
        return type(self)(self.computed + other.computed, self.cached + other.cached, self.generated + other.generated)


@dataclass(frozen=True, slots=True)
class EngineHour:
    """What an engine used and did from `start_ns` to `end_ns` (UTC): a whole hour, or the part of one that is known.

    Args:
        engine: the workload, or the group whose pools serve together.
        active_uj: energy of its GPUs while kernels ran.
        idle_uj: energy of its GPUs while it held them idle.
        gain_ratio: systematic error of the GPUs' sensors.
        edge_uj: error of the energy at the edges of the hour.
        requests: requests that ended; None: the server does not count them.
        prompts, outputs: computed prompt tokens and generated tokens of these requests; None with the reason in `no_lengths`.
        final: all energy and tokens of the hour are known; a price of an open hour is provisional.
    """

    engine: str
    model: str
    start_ns: int
    end_ns: int
    active_uj: int
    idle_uj: int
    usage: RequestTokens
    prompt_share: Fraction
    prompt_share_low: Fraction
    prompt_share_high: Fraction
    gain_ratio: float = 0.0
    edge_uj: int = 0
    final: bool = False
    requests: int | None = None
    prompts: Latencies | None = None
    outputs: Latencies | None = None
    no_lengths: str = ""

    def energy_uj(self, usage: RequestTokens) -> Fraction:
        """Energy of a request with this usage, uJ; summed over all requests of the hour it is `active_uj`, exactly.

        Raises:
            ValueError: tokens of a kind of which the engine had none in this hour.
        """
        return self._energy(usage, self.prompt_share)

    def joules(self, usage: RequestTokens) -> tuple[float, float, float]:
        """Energy of a request, J: the value, and its lower and upper bound; raises as `energy_uj` does.

        The bounds hold the error of the sensors, of the hour's edges, and of the division between prompts and generation.
        """
        value = self.energy_uj(usage)
        ends = [self._energy(usage, share) for share in (self.prompt_share_low, self.prompt_share_high)]
        low, high = self.error_factors
        return (
            float(value) / UJ_PER_J,
            float(min(value, *ends)) / UJ_PER_J * low,
            float(max(value, *ends)) / UJ_PER_J * high,
        )

    @property
    def error_factors(self) -> tuple[float, float]:
        """What bounds of the energy are multiplied by for the error of the sensors and of the hour's edges."""
        edge = self.edge_uj / self.active_uj if self.active_uj else 0.0
        return (1 - min(edge, 1.0)) / (1 + self.gain_ratio), (1 + edge) / (1 - self.gain_ratio)

    def rates(self, share: Fraction) -> tuple[float, float]:
        """J per computed prompt token and per generated token at a share of prompts; 0 without tokens of a kind."""
        parts = ((share, self.usage.computed), (1 - share, self.usage.generated))
        prompt, generation = (float(part * self.active_uj / tokens) / UJ_PER_J if tokens else 0.0 for part, tokens in parts)
        return prompt, generation

    def mean(self) -> tuple[float, float, float] | None:
        """J per request with bounds: the engine's active energy over the requests that ended; None without any."""
        if not self.requests or not self.active_uj:
            return None
        mean = self.active_uj / UJ_PER_J / self.requests
        low, high = self.error_factors
        return mean, mean * low, mean * high

    def price(self, kind: Kind) -> tuple[float, float, float] | None:
        """J per token of a kind with bounds; None where the engine had none of it, or no energy is recorded for it yet."""
        if not self.active_uj:
            return None
        one = RequestTokens(kind == "prompt", kind == "cached", kind == "generation")
        try:
            return self.joules(one)
        except ValueError:
            return None

    def _energy(self, usage: RequestTokens, share: Fraction) -> Fraction:
        energy = Fraction(0)
        for tokens, of_all, part in (
            (usage.computed, self.usage.computed, share),
            (usage.generated, self.usage.generated, 1 - share),
        ):
            if tokens and not of_all:
                raise ValueError("the engine had no such tokens in this hour")
            if tokens:
                energy += part * self.active_uj * Fraction(tokens, of_all)
        return energy


def prompt_shares(usage: RequestTokens, split: Split) -> tuple[Fraction, Fraction, Fraction]:
    """Share of the prompts in the energy, and its bounds.

    With tokens of one kind alone it is 0 or 1: all energy belongs to these.
    """
    if not usage.computed or not usage.generated:
        share = Fraction(bool(usage.computed))
        return share, share, share
    prefill, decode = split.prefill, split.decode
    if prefill is None or decode is None:
        return Fraction(usage.computed, usage.computed + usage.generated), Fraction(0), Fraction(1)
    shares = [
        _share(p * usage.computed, g * usage.generated)
        for p, g in ((prefill.value, decode.value), (prefill.low, decode.high), (prefill.high, decode.low))
    ]
    return shares[0], min(shares), max(shares)


def _share(prompts: float, generation: float) -> Fraction:
    prompts, generation = max(0.0, prompts), max(0.0, generation)
    if not prompts + generation:
        return Fraction(1, 2)
    return Fraction(round(_ROUND * prompts / (prompts + generation)), _ROUND)
