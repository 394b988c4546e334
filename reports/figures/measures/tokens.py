"""Energy per token in four rows, by model and precision: GPU busy, with idle, with the host, with the building.

One denominator for all four: the tokens that were generated. A workload that serves several models has energy of neither.
"""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.units import UJ_PER_J
from energy_agent.site.building.ratio import Amount
from reports.figures.evidence import PeriodEvidence, amount_of, over, reach
from reports.figures.figure import Figure, amount_figure
from reports.figures.measures._measure import Measure, covered, groups, model_of
from reports.figures.measures.energy import methods
from reports.ledger.sums import PartEnergy

SOURCES = ("ledger", "tokens")
ROWS = (("busy", "gpu"), ("gpu", "gpu"), ("node", "node"), ("facility", "facility"))
"""The four rows, and the boundary of each."""
_J = Fraction(1, UJ_PER_J)


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Tokens by phase, and J per generated token."""
    yield from covered(evidence, _figures(evidence))


def _figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    yield from _counts(evidence)
    for suffix, dims, rows in groups(evidence):
        if not suffix or "model" in dims or "team" in dims:
            yield from _per_token(evidence, suffix, dims, rows)


def generated(evidence: PeriodEvidence, parts: set[int]) -> int:
    """Tokens that these parts generated."""
    return sum(t.tokens for t in evidence.sums.tokens if t.phase == "generation" and t.part in parts)


def processed(evidence: PeriodEvidence, parts: set[int]) -> int | None:
    """Tokens that these parts processed: prompts and generated. None: prompts of one of them were not counted."""
    counted = {t.part for t in evidence.sums.tokens if t.phase == "prompt"}
    if not parts <= counted:
        return None
    return sum(t.tokens for t in evidence.sums.tokens if t.phase in ("prompt", "generation") and t.part in parts)


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
        yield Figure(f"tokens.{phase}{suffix}", Fraction(tokens), "tokens", "counter", "gpu", sources=SOURCES, dims=dims)


def shown_name(evidence: PeriodEvidence, model: str) -> str:
    """How a model of the ledger is called in the report."""
    known = evidence.organisation.model_names.get(model)
    return known.display if known is not None and known.display else model


def _per_token(evidence: PeriodEvidence, suffix: str, dims: dict[str, str], rows: list[PartEnergy]) -> Iterator[Figure]:
    who = evidence.sums.parts
    serving = {t.part for t in evidence.sums.tokens if t.phase == "generation" and t.tokens}
    parts = {r.part for r in rows} & serving
    tokens = generated(evidence, parts)
    if not tokens and suffix:
        return
    mixed = {shown_name(evidence, t.model) for t in evidence.sums.tokens if who[t.part].mixed}
    reached = reach(evidence, [r for r in rows if r.part in parts])
    amounts = dict(
        zip(
            ("busy", "gpu", "node", "facility"),
            (amount_of(reached.busy), amount_of(reached.gpu), reached.node, reached.facility),
            strict=True,
        )
    )
    for name, within in ROWS:
        amount = over(amounts[name], tokens, "no token was generated")
        if "model" in dims and any(who[p].mixed or who[p].model in mixed for p in parts):
            amount = Amount(None, reason="a workload serves several models and its energy is not split between them")
        yield amount_figure(
            f"j_per_token.{name}{suffix}", amount, "J/token", methods(evidence, "gpu"), within, sources=SOURCES,
            dims=dims | {"tokens": str(tokens)}, scale=_J,
        )  # fmt: skip


SPEC = Measure("tokens, and energy per token in four rows", figures)
