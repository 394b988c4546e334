"""The bridge table of a restatement: how each total came from the earlier edition to this one, step by step. Pure.

Steps are decimals of as many places as the figure has, rounded by largest remainder, so that they sum as they are shown.
"""

from fractions import Fraction
from math import floor
from typing import Final

from energy_agent.core.units import decimal
from reports.audit.causes import Cause
from reports.audit.difference import THRESHOLD, difference
from reports.audit.edition import Edition
from reports.audit.parts import CauseShare
from reports.figures.facts import RestatedTotal

_CATEGORY: Final = {
    Cause.LATE_DATA: "late data",
    Cause.COVERAGE: "late data",
    Cause.FACTOR: "factor revision",
    Cause.METHOD: "method",
    Cause.PROGRAM: "method",
    Cause.ARGUMENTS: "method",
    Cause.BOUNDARY: "boundary",
    Cause.FILES: "error",
    Cause.PERIOD: "period",
    Cause.ROUNDING: "rounding",
    Cause.UNEXPLAINED: "not explained",
}
"""Kinds of steps in the order of the table. An error is what the organisation's files said otherwise before."""
CATEGORIES: Final = tuple(dict.fromkeys(_CATEGORY.values()))


def bridge(old: Edition, new: Edition, threshold: Fraction = THRESHOLD) -> tuple[RestatedTotal, ...]:
    """The totals that changed, by id, with the steps between.

    Args:
        old: the edition that is restated.
        new: the one that restates it.
        threshold: share of a total from which on comparatives are restated.
    """
    rows = []
    for change in sorted(difference(old, new), key=lambda each: each.id):
        if change.is_total and change.moved and change.old is not None and change.new is not None:
            before, after = change.old.figure.text, change.new.figure.text
            steps = _steps(change.parts, before, after)
            rows.append(RestatedTotal(change.id, change.unit, before, steps, after, change.moved >= threshold))
    return tuple(rows)


def _steps(parts: tuple[CauseShare, ...], before: str, after: str) -> tuple[tuple[str, str], ...]:
    """(kinds, amount); several kinds: their parts cannot be distinguished."""
    by_kinds: dict[tuple[int, ...], Fraction] = {}
    for part in parts:
        kinds = tuple(sorted({CATEGORIES.index(_CATEGORY[cause]) for cause in part.causes}))
        by_kinds[kinds] = by_kinds.get(kinds, Fraction(0)) + part.amount
    scale = 10 ** max(len(text.partition(".")[2]) for text in (before, after))
    ordered = sorted(by_kinds)
    rounded = zip(ordered, _rounded([by_kinds[kinds] * scale for kinds in ordered]), strict=True)
    return tuple((", ".join(CATEGORIES[n] for n in kinds), decimal(amount, scale)) for kinds, amount in rounded if amount)


def _rounded(amounts: list[Fraction]) -> list[int]:
    """Whole numbers for amounts whose sum is whole, which they keep; what is left over goes to the largest remainders."""
    whole = [floor(amount) for amount in amounts]
    left = int(sum(amounts, Fraction(0))) - sum(whole)
    by_remainder = sorted(range(len(amounts)), key=lambda i: (whole[i] - amounts[i], i))
    for i in by_remainder[:left]:
        whole[i] += 1
    return whole
