"""Energy per token and per request in four rows, by model and precision: GPU busy, with idle, with the host, with the building.

One denominator for all four: the tokens that were generated, or the requests that ended. A workload that serves several models
has energy of neither. A workload whose server counts no requests is in no figure per request.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from energy_agent.core.energy import REQUEST
from energy_agent.core.quantity import exactly, no_quantity
from energy_agent.core.units import UJ_PER_J
from reports.figures.evidence import PeriodEvidence, reach
from reports.figures.figure import Figure
from reports.figures.measures._measure import FigureSubject, Measure, covered, groups, model_of
from reports.figures.measures.carbon import workload_dims
from reports.figures.measures.energy import methods
from reports.ledger.sums import PartEnergy

SOURCES = ("ledger", "tokens")
ROWS = (("busy", "gpu"), ("gpu", "gpu"), ("node", "node"), ("facility", "facility"))
"""The four rows, and the boundary of each."""


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A figure per token or per request.

    Args:
        identity: beginning of the ID.
        phase: of the rows that are counted.
        dimension: name of the count in `dims`.
        scale: of energy in uJ.
        why: reason without any; "": there is no figure then.
    """

    identity: str
    phase: str
    dimension: str
    unit: str
    scale: Fraction
    why: str = ""


_PER_TOKEN: Final = _Ratio("j_per_token", "generation", "tokens", "J/token", Fraction(1, UJ_PER_J), "no token was generated")
NO_ENERGY: Final = "tokens were generated, but no energy of these workloads is recorded"
_PER_REQUEST: Final = _Ratio("wh_per_request", REQUEST, "requests", "Wh/request", Fraction(1, 3600 * UJ_PER_J))


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Tokens by phase, requests, J per generated token and Wh per request."""
    yield from covered(evidence, _figures(evidence))


def _figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    yield from _counts(evidence)
    for group, rows in groups(evidence):
        if not group.suffix or group.dims.keys() & {"model", "team"}:
            for ratio in (_PER_TOKEN, _PER_REQUEST):
                yield from _ratios(evidence, group, rows, ratio)


def generated(evidence: PeriodEvidence, parts: set[int]) -> int:
    """Tokens that these parts generated."""
    return _count_of(evidence, "generation", parts)


def _count_of(evidence: PeriodEvidence, phase: str, parts: set[int]) -> int:
    return sum(t.tokens for t in evidence.sums.tokens if t.phase == phase and t.part in parts)


def processed(evidence: PeriodEvidence, parts: set[int]) -> int | None:
    """Tokens that these parts processed: prompts and generated. None: prompts of one of them were not counted."""
    counted = {t.part for t in evidence.sums.tokens if t.phase == "prompt"}
    if not parts <= counted:
        return None
    return sum(t.tokens for t in evidence.sums.tokens if t.phase in ("prompt", "generation") and t.part in parts)


def counter_of(phase: str) -> tuple[str, str]:
    """Beginning of the ID, and unit, of counts of a phase: tokens, or requests that ended."""
    return ("requests", "requests") if phase == REQUEST else (f"tokens.{phase}", "tokens")


def _counts(evidence: PeriodEvidence) -> Iterator[Figure]:
    who = evidence.sums.parts
    counts: dict[tuple[str, str, str], int] = {}
    for row in evidence.sums.tokens:
        part = who[row.part]
        for dimension, name in (
            ("", ""),
            ("model", shown_name(evidence, row.model) if part.mixed else model_of(part)),
            ("team", part.team),
        ):
            key = (row.phase, dimension, name)
            counts[key] = counts.get(key, 0) + row.tokens
    for (phase, dimension, name), tokens in sorted(counts.items()):
        suffix, dims = (f"/{dimension}/{name}", {dimension: name}) if dimension else ("", {})
        identity, unit = counter_of(phase)
        yield Figure(f"{identity}{suffix}", Fraction(tokens), unit, "counter", "gpu", sources=SOURCES, dims=dims)


def shown_name(evidence: PeriodEvidence, model: str) -> str:
    """How a model of the ledger is called in the report."""
    model_name = evidence.organisation.model_names.get(model)
    return model_name.display if model_name is not None and model_name.display else model


def _ratios(evidence: PeriodEvidence, group: FigureSubject, rows: list[PartEnergy], ratio: _Ratio) -> Iterator[Figure]:
    who = evidence.sums.parts
    # A prefill server has no requests of its own, and its energy is part of those of its model.
    counting = {t.part for t in evidence.sums.tokens if t.phase == ratio.phase and (t.tokens or ratio.phase == REQUEST)}
    parts = {r.part for r in rows} & counting
    count = _count_of(evidence, ratio.phase, parts)
    if not count and (group.suffix or not ratio.why):
        return
    without_energy = not count and any(t.phase == ratio.phase and t.tokens for t in evidence.sums.tokens)
    why = NO_ENERGY if without_energy else ratio.why
    mixed = {shown_name(evidence, t.model) for t in evidence.sums.tokens if who[t.part].mixed}
    reached = reach(evidence, [r for r in rows if r.part in parts])
    for name, within in ROWS:
        energy = reached.busy.quantity if name == "busy" else reached.at(name)
        amount = energy * exactly(ratio.scale / count) if count else no_quantity(why)
        if "model" in group.dims and any(who[p].mixed or who[p].model in mixed for p in parts):
            amount = no_quantity("a workload serves several models and its energy is not split between them")
        of = {ratio.dimension: str(count)}
        if within == "facility":
            of |= workload_dims(evidence, {r.site for r in rows if r.part in parts})
        how = methods(evidence, "gpu")
        yield group.figure(f"{ratio.identity}.{name}", amount, ratio.unit, how, within, of, sources=SOURCES)


SPEC = Measure("tokens and requests, and energy per token and request in four rows", figures)
