"""Totals of earlier periods and of the base year: recalculated from the ledger with today's inputs, and as reported then.

Both are figures of their own, so that a restated comparison shows the earlier value, today's value and the reason.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Final

from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure, rounded
from reports.figures.measures import carbon, cost, energy, tokens
from reports.figures.measures._measure import Measure
from reports.figures.measures.comparison import NO_EARLIER, earlier_totals, too_little_metered
from reports.statement import ELECTRICITY

TOTALS: Final = (
    "energy.gpu", "energy.node", "energy.facility", "energy.inventory", "co2e.location", "co2e.market",
    "co2e.lifecycle.location", "co2e.lifecycle.market", "cost", "tokens.generation", "j_per_token.gpu", "j_per_token.node",
    "j_per_token.facility",
)  # fmt: skip
RECALCULATED: Final = "total.period"
REPORTED: Final = "total.reported"
_WIDEST: Final = ("energy.facility", "energy.inventory", "energy.node", "energy.gpu")
_UNITS: Final = {**dict.fromkeys(_WIDEST, "J"), "co2e.location": "g", "co2e.market": "g"}


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """`total.period/LABEL/ID` and `total.reported/LABEL/ID`; `total.period/LABEL` has the reason of a period without values."""
    labels = {}
    for compared in evidence.compared:
        earlier, dims = compared.evidence, {"period": compared.label, "role": compared.role}
        labels[compared.label] = dims
        reason = NO_EARLIER if earlier is None else too_little_metered(earlier)
        if earlier is None or reason:
            identity = f"{RECALCULATED}/{compared.label}"
            yield Figure(identity, None, "J", "recalculated", "mixed", dims=dims, reason=reason)
            continue
        earlier_figures = (figure for measure in (energy, carbon, cost, tokens) for figure in measure.figures(earlier))
        yield from earlier_totals(earlier_figures, f"{RECALCULATED}/{compared.label}", dims, TOTALS, earlier, evidence)
    listed = [each for each in evidence.organisation.reported if each.period in labels]
    widest = _widest(evidence) if listed else ""
    for reported in listed:
        for name, value, tolerance in reported.totals:
            identity = widest if name == ELECTRICITY else name
            dims = labels[reported.period] | {"figure": identity, "source": reported.source, "tolerance": str(tolerance)}
            dims |= {"reason": reported.reason} if reported.reason else {}
            unit = _UNITS.get(identity) or _currency(evidence)
            yield Figure(
                f"{REPORTED}/{reported.period}/{identity}", rounded(Fraction(value)), unit, "as reported", "mixed",
                sources=("declared",), dims=dims,
            )  # fmt: skip


def restated(figures: Mapping[str, Figure]) -> Iterator[tuple[Figure, Figure]]:
    """Pairs of what was reported of an earlier period and what the ledger gives today, where the two differ."""
    for identity in sorted(figures):
        reported = figures[identity]
        today = figures.get(identity.replace(REPORTED, RECALCULATED, 1)) if identity.startswith(f"{REPORTED}/") else None
        if today is None or today.value is None or reported.value is None or today.unit != reported.unit:
            continue
        if abs(today.value - reported.value) > Fraction(reported.dims["tolerance"]):
            yield reported, today


def without_reason(figures: Mapping[str, Figure]) -> list[tuple[Figure, Figure]]:
    """Restated values for which the inputs state no reason."""
    return [pair for pair in restated(figures) if "reason" not in pair[0].dims]


def _widest(evidence: PeriodEvidence) -> str:
    """The figure of the energy at the report's boundary."""
    figure_ids = {f.id for f in energy.figures(evidence) if f.value is not None}
    return next((identity for identity in _WIDEST if identity in figure_ids), _WIDEST[0])


def _currency(evidence: PeriodEvidence) -> str:
    """The currency in which the sites pay; "money" if there is not one."""
    currencies = {cost.currency_of(site) for site in evidence.sites.values()} - {""}
    return currencies.pop() if len(currencies) == 1 else "money"


SPEC = Measure("totals of earlier periods and of the base year, recalculated and as reported", figures)
