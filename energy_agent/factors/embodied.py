"""Embodied emissions of a GPU and the server around it: published figures as one range, and their share of a period.

Published figures of one GPU differ more than threefold, and each has its own boundary. So a footprint is the range of all of
them, with each one named, and never one number. SCI (ISO/IEC 21031:2024) attributes M = TE x (time reserved / life span) of
it, by the calendar; the GHG Protocol reports all of it in the year of purchase (Scope 3.2). A life span is a declaration.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from energy_agent.core.units import NS_PER_S
from energy_agent.factors.embodied_source import EmbodiedSource, What, shipped

YEAR_NS: Final = 365 * 86_400 * NS_PER_S
"""A year of a life span is 8,760 h, as in the SCI guide and in EcoLogits."""
LIFE_YEARS: Final = (Fraction(3), Fraction(6))
"""The life spans that are found in practice: what stands in where nobody declares one."""


class Covers(StrEnum):
    """What a footprint of a GPU takes in."""

    GPU = "gpu"
    WITH_SERVER = "gpu+server"


@dataclass(frozen=True, slots=True)
class EmbodiedRange:
    """The footprint of one GPU of a SKU: the span over `sources`, in kg CO2e.

    Args:
        life_years: as a user declares it with a footprint; None: nobody did.
    """

    sku: str
    covers: Covers
    low_kg: Fraction
    high_kg: Fraction
    sources: tuple[EmbodiedSource, ...]
    life_years: tuple[Fraction, Fraction] | None = None

    @property
    def single(self) -> bool:
        """One figure alone stands behind it, so that the span is that of the life span alone."""
        return self.low_kg == self.high_kg


@dataclass(frozen=True, slots=True)
class EmbodiedEmissions:
    """Embodied emissions as a span, in g CO2e; absent (both None) for `reason`.

    Args:
        life_years: the life span that it was made with; None where none plays a part.
        declared: somebody declared that life span.
    """

    low_g: Fraction | None
    high_g: Fraction | None
    reason: str = ""
    life_years: tuple[Fraction, Fraction] | None = None
    declared: bool = False


def embodied_range(sku: str, covers: Covers = Covers.GPU) -> EmbodiedRange | None:
    """The footprint of one GPU of that name over all sources that fit; None where none does (`why_none` says why).

    With its server it is the span of GPU plus share of the server, widened by figures of both together.
    """
    every = [s for s in shipped()[1] if s.fits(sku)]
    gpu = [s for s in every if s.what in (What.GPU, What.BOARD)]
    if covers is Covers.GPU:
        return _span(sku, covers, [gpu]) if gpu else None
    whole, server = ([s for s in every if s.what is kind] for kind in (What.GPU_WITH_SERVER, What.SERVER))
    parts = _span(sku, covers, [gpu, server]) if gpu and server else None
    if not whole:
        return parts
    both = _span(sku, covers, [whole])
    other = parts or (_span(sku, covers, [gpu]) if gpu else both)  # with its server it is not less than it is without
    low, high = min(parts.low_kg if parts else both.low_kg, both.low_kg), max(other.high_kg, both.high_kg)
    return EmbodiedRange(sku, covers, low, high, tuple(dict.fromkeys((*other.sources, *both.sources))))


def why_none(sku: str) -> str:
    """Why a device has no footprint, and what to do."""
    return f"no published footprint of {sku or 'a device without a name'}; give one of your own"


def amortised(of: EmbodiedRange, gpu_ns: int) -> EmbodiedEmissions:
    """M = TE x time reserved / life span (ISO/IEC 21031): lower bound over the longest life, upper bound over the shortest.

    Hand check: an H100 of 164 to 575.1 kg for one hour of a life of 4 years (35,040 h): 164,000 / 35,040 = 4.68 g to
    575,100 / 35,040 = 16.41 g.

    Args:
        of: footprint of one GPU; without a declared life its life span is LIFE_YEARS.
        gpu_ns: device time that was reserved, busy or not, in ns.

    Raises:
        ValueError: negative time, or an invalid life span.
    """
    if gpu_ns < 0:
        raise ValueError(f"expected a time of at least 0 ns, got {gpu_ns} ns")
    shortest, longest = of.life_years or LIFE_YEARS
    if not 0 < shortest <= longest:
        raise ValueError(f"expected 0 < shortest <= longest life, got {shortest} to {longest} years")
    low, high = of.low_kg * 1000 * gpu_ns / (longest * YEAR_NS), of.high_kg * 1000 * gpu_ns / (shortest * YEAR_NS)
    if gpu_ns and low == high:
        reason = (
            f"only one figure and one life span for {of.sku}: a single result would hide the uncertainty; state a range "
            "of either"
        )
        return EmbodiedEmissions(None, None, reason, (shortest, longest), of.life_years is not None)
    return EmbodiedEmissions(low, high, "", (shortest, longest), of.life_years is not None)


def summed(parts: Iterable[EmbodiedEmissions]) -> EmbodiedEmissions:
    """The sum of footprints of different devices, least with least; absent where one is, for its reason."""
    low, high = Fraction(0), Fraction(0)
    lives: list[tuple[Fraction, Fraction]] = []
    declared = True
    for part in parts:
        if part.low_g is None or part.high_g is None:
            return part
        low, high, declared = low + part.low_g, high + part.high_g, declared and part.declared
        lives += [part.life_years] if part.life_years else []
    life = (min(a for a, _ in lives), max(b for _, b in lives)) if lives else None
    return EmbodiedEmissions(low, high, "", life, declared and bool(lives))


def _span(sku: str, covers: Covers, parts: Sequence[Sequence[EmbodiedSource]]) -> EmbodiedRange:
    low = sum((min(s.low_kg for s in part) for part in parts), Fraction(0))
    high = sum((max(s.high_kg for s in part) for part in parts), Fraction(0))
    return EmbodiedRange(sku, covers, low, high, tuple(s for part in parts for s in part))
