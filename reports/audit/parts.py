"""Divides a figure's change among its causes; the shares sum to the change exactly. Pure.

CO2e is energy times factor. A revision of the factor from g0 to g1 therefore changed the figure by value0 x (g1 / g0 - 1), at
the energy of the old edition. The remainder belongs to the other causes together. Without other causes it is the rounding of
two figures, or, beyond that, unexplained. A total is divided by site if the figures of its sites sum to it. No other change is
divided: two facts documents contain no further information, and a guess would not be an explanation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from reports.audit.causes import Cause, InputChanges, causes_of, roots
from reports.audit.edition import Edition, StatedFigure

MEAN: Final = "grid_intensity"
"""The mean factor of a place over its hours and their energy, which stands in where a figure names hourly ones."""
PROPORTIONAL: Final = frozenset({"co2e.location", "co2e.held.location", "co2e.allocated.location", "cue", MEAN})
"""Quantities that are energy times a location-based factor."""
MARKET: Final = frozenset(
    {"co2e.market", "co2e.held.market", "co2e.allocated.market", "co2e.market.residual", "co2e.market.average"}
)
"""Quantities that are energy times a factor where no contract brings grams of its own."""
INSTRUMENTS: Final = ("co2e.market.instruments", "co2e.lifecycle.market.instruments")
RELATIVE: Final = Fraction(1, 10**7)
ABSOLUTE: Final = Fraction(1, 10**6)
"""Figures have nine digits or more, or six places: two of them, and their factor, differ by no more where they are the same."""
_ORDER: Final = {cause: n for n, cause in enumerate(Cause)}


@dataclass(frozen=True, slots=True)
class CauseShare:
    """The amount by which causes moved a figure, in its unit. Several causes: their shares cannot be separated."""

    causes: tuple[Cause, ...]
    amount: Fraction


def parts_of(
    identity: str, old: Edition, new: Edition, causes: tuple[Cause, ...], changes: InputChanges
) -> tuple[CauseShare, ...]:
    """The parts of a figure's change; none where it has no value on one side, another unit, or the same value.

    Args:
        identity: of the figure.
        old: the edition before.
        new: the one after.
        causes: what can have moved it.
        changes: of the inputs.
    """
    before, after = old.figures.get(identity), new.figures.get(identity)
    if before is None or after is None or before.figure.value is None or after.figure.value is None:
        return ()
    if before.figure.value == after.figure.value or before.figure.unit != after.figure.unit:
        return ()
    whole, causes_left = after.figure.value - before.figure.value, roots(causes)
    parts = None if "/" in identity else _by_site(identity, old, new, changes)
    if parts is not None:
        return _merged([*parts, CauseShare((Cause.ROUNDING,), whole - sum((each.amount for each in parts), Fraction(0)))])
    factor = _of_factor(identity, (before, after), (old, new)) if Cause.FACTOR in causes_left else None
    if factor is None:
        return (CauseShare(causes_left or (Cause.UNEXPLAINED,), whole),)
    others, left = tuple(c for c in causes_left if c is not Cause.FACTOR), whole - factor
    if Cause.LATE_DATA not in others and abs(left) <= slack(before.figure.value, after.figure.value):
        others = (Cause.ROUNDING,)
    others = others or (Cause.UNEXPLAINED,)
    return _merged([CauseShare((Cause.FACTOR,), factor), CauseShare(others, left)])


def slack(*values: Fraction) -> Fraction:
    """What rounding can make of figures of this size."""
    return RELATIVE * max(abs(value) for value in values) + ABSOLUTE


def _of_factor(identity: str, stated: tuple[StatedFigure, StatedFigure], editions: tuple[Edition, Edition]) -> Fraction | None:
    """Return the change that revised factors alone would have caused, at the energy of the old edition; None if it is unknown.

    The factor is the one that the figure names, else the mean that the edition states for the same place.
    """
    value, quantity = stated[0].figure.value, identity.partition("/")[0].replace("co2e.lifecycle.", "co2e.")
    if value is None or quantity not in PROPORTIONAL | MARKET or (quantity in MARKET and any(map(_instruments, editions))):
        return None
    rates = [[_named(each, edition) for each, edition in zip(stated, editions, strict=True)]]
    if quantity in PROPORTIONAL - {MEAN}:
        rates.append([_mean(identity, edition) for edition in editions])
    for (a, a_unit), (b, b_unit) in rates:
        if a is not None and b is not None and a > 0 and b > 0 and a_unit == b_unit:
            return value * (b / a - 1)
    return None


def _named(stated: StatedFigure, edition: Edition) -> tuple[Fraction | None, str]:
    if len(stated.figure.factor_ids) != 1:
        return None, ""
    record = edition.inputs.factors.get(stated.figure.factor_ids[0])
    return (record.value, record.attributes.get("unit", "")) if record else (None, "")


def _mean(identity: str, edition: Edition) -> tuple[Fraction | None, str]:
    _, slash, place = identity.partition("/")
    stated = edition.figures.get(f"{MEAN}{slash}{place}")
    return (stated.figure.value, stated.figure.unit) if stated else (None, "")


def _instruments(edition: Edition) -> bool:
    """Whether contracts bring grams of their own, which no factor of the grid moves."""
    names = [name for quantity in INSTRUMENTS for name in _places(quantity, edition)]
    return any((edition.figures[name].figure.value or 0) > 0 for name in names if name in edition.figures)


def _places(quantity: str, *editions: Edition) -> list[str]:
    """A quantity's figures by site, whether they are there or not."""
    return [f"{quantity}/site/{site}" for site in sorted({site for edition in editions for site in edition.sites})]


def _by_site(identity: str, old: Edition, new: Edition, changes: InputChanges) -> list[CauseShare] | None:
    """The parts of every site's figure together; None: they are not there, or do not sum to the total."""
    parts: list[CauseShare] = []
    sums = [Fraction(0), Fraction(0)]
    count = 0
    for inner in _places(identity, old, new):
        before, after = old.figures.get(inner), new.figures.get(inner)
        a, b = before.figure.value if before else None, after.figure.value if after else None
        if a is None and b is None:
            continue
        if before is not None and after is not None and a is not None and b is not None:
            parts += parts_of(inner, old, new, causes_of(before, after, changes), changes)
        elif inner.split("/", 2)[2] in changes.sites:
            parts.append(CauseShare((Cause.BOUNDARY,), (b or Fraction(0)) - (a or Fraction(0))))
        else:
            return None
        sums = [sums[0] + (a or 0), sums[1] + (b or 0)]
        count += 1
    for whole, edition in zip(sums, (old, new), strict=True):
        total = edition.figures[identity].figure.value or Fraction(0)
        if not count or abs(whole - total) > slack(whole, total) * count:
            return None
    return parts


def _merged(parts: Iterable[CauseShare]) -> tuple[CauseShare, ...]:
    """One part for the same causes, in the order of `Cause`; what is nothing is left away."""
    amounts: dict[tuple[Cause, ...], Fraction] = {}
    for each in parts:
        amounts[each.causes] = amounts.get(each.causes, Fraction(0)) + each.amount
    ordered = sorted(amounts, key=lambda causes: [_ORDER[cause] for cause in causes])
    return tuple(CauseShare(causes, amounts[causes]) for causes in ordered if amounts[causes])
