"""The bridge table of a restatement: how each total came from the earlier edition to this one, step by step. Pure.

Steps are decimals of as many places as the figure has, rounded by largest remainder, so that they sum as they are shown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Final

from energy_agent.core.units import decimal
from reports.audit.causes import Cause
from reports.audit.difference import NO_TOTAL, THRESHOLD, difference
from reports.audit.edition import Edition
from reports.audit.parts import Part

LATE_DATA: Final = "late data"
FACTOR: Final = "factor revision"
METHOD: Final = "method"
BOUNDARY: Final = "boundary"
ERROR: Final = "error"
PERIOD: Final = "period"
ROUNDING: Final = "rounding"
UNEXPLAINED: Final = "not explained"
CATEGORIES: Final = (LATE_DATA, FACTOR, METHOD, BOUNDARY, ERROR, PERIOD, ROUNDING, UNEXPLAINED)
"""Kinds of steps in the order of the table. An error is what the organisation's files said otherwise before."""
_CATEGORY: Final = {
    Cause.LATE_DATA: LATE_DATA,
    Cause.COVERAGE: LATE_DATA,
    Cause.FACTOR: FACTOR,
    Cause.METHOD: METHOD,
    Cause.PROGRAM: METHOD,
    Cause.ARGUMENTS: METHOD,
    Cause.BOUNDARY: BOUNDARY,
    Cause.FILES: ERROR,
    Cause.PERIOD: PERIOD,
    Cause.ROUNDING: ROUNDING,
    Cause.UNEXPLAINED: UNEXPLAINED,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its categories (several: their parts cannot be told apart) and by how much, as decimal text."""

    categories: tuple[str, ...]
    amount: str


@dataclass(frozen=True, slots=True)
class BridgeRow:
    """A total of both editions, and the steps between; `before` + all steps == `after`, as shown.

    Args:
        figure: its id.
        relative: change as a share of |before|; None: before was 0.
        due: whether that reaches the threshold.
    """

    figure: str
    unit: str
    before: str
    steps: tuple[Step, ...]
    after: str
    relative: Fraction | None
    due: bool


def bridge(
    old: Edition, new: Edition, figures: Iterable[str] | None = None, threshold: Fraction = THRESHOLD
) -> list[BridgeRow]:
    """Rows for the report of the restatement.

    Args:
        old: the edition that is restated.
        new: the one that restates it.
        figures: ids in the order of the table; by default the totals that changed, by id. One that did not change, or
            has no value in an edition, has no row.
        threshold: share of a total from which on comparatives are restated.
    """
    changes = {each.id: each for each in difference(old, new) if each.absolute}
    totals = sorted(name for name in changes if "/" not in name and not name.startswith(NO_TOTAL))
    rows = []
    for name in totals if figures is None else figures:
        change = changes.get(name)
        if change is None or change.old is None or change.new is None:
            continue
        before, after = change.old.figure.text, change.new.figure.text
        relative = change.relative
        due = relative is None or abs(relative) >= threshold
        rows.append(BridgeRow(name, change.unit, before, _steps(change.parts, before, after), after, relative, due))
    return rows


def _steps(parts: tuple[Part, ...], before: str, after: str) -> tuple[Step, ...]:
    by_category: dict[tuple[str, ...], Fraction] = {}
    for part in parts:
        found = {_CATEGORY[cause] for cause in part.causes}
        categories = tuple(name for name in CATEGORIES if name in found)
        by_category[categories] = by_category.get(categories, Fraction(0)) + part.amount
    names = sorted(by_category, key=lambda each: (CATEGORIES.index(each[0]), each))
    scale = 10 ** max(len(text.partition(".")[2]) for text in (before, after))
    rounded = _rounded([by_category[name] * scale for name in names])
    return tuple(Step(name, decimal(amount, scale)) for name, amount in zip(names, rounded, strict=True) if amount)


def _rounded(amounts: list[Fraction]) -> list[int]:
    """Whole numbers for amounts whose sum is whole, which they keep; what is left over goes to the largest remainders."""
    whole = [floor(amount) for amount in amounts]
    left = int(sum(amounts, Fraction(0))) - sum(whole)
    by_remainder = sorted(range(len(amounts)), key=lambda i: (whole[i] - amounts[i], i))
    for i in by_remainder[:left]:
        whole[i] += 1
    return whole
