"""Every figure that differs between two editions: by how much, whether beyond its interval, and why. Pure."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from reports.audit.causes import Cause, InputChanges, causes_of, input_changes
from reports.audit.edition import Edition, StatedFigure
from reports.audit.parts import CauseShare, parts_of
from reports.figures.figure import Figure

THRESHOLD: Final = Fraction(5, 100)
"""Share of a total from which on comparatives are restated, where an organisation has not set its own."""
NO_TOTAL: Final = ("bridge.", "coverage", "crosscheck.", "dvfs.pairs", "quality.", "share.")
"""Figures of the whole organisation, by how their names begin, that are no disclosed quantity: they restate nothing."""


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure whose value differs between two editions.

    Args:
        id: ID of the figure.
        old: the figure in the old edition; None if that edition does not have it.
        new: the figure in the new edition; None if that edition does not have it.
        absolute: new - old, in their unit; None if a value is missing or the units differ.
        relative: `absolute` as a share of |old|; also None if old is 0.
        overlap: whether the intervals overlap; None if a figure has no interval.
        causes: possible causes of the change; UNEXPLAINED: the known causes do not explain all of it.
        parts: parts of the change, which sum to `absolute`.
        reason: why the figure appeared, disappeared or has no value, according to the editions; "" if they give no reason.
    """

    id: str
    old: StatedFigure | None
    new: StatedFigure | None
    absolute: Fraction | None
    relative: Fraction | None
    overlap: bool | None
    causes: tuple[Cause, ...]
    parts: tuple[CauseShare, ...]
    reason: str = ""

    @property
    def explained(self) -> bool:
        """Whether known causes explain the whole change."""
        return Cause.UNEXPLAINED not in self.causes

    @property
    def unit(self) -> str:
        """Of its value, the newer first."""
        stated = self.new or self.old
        return stated.figure.unit if stated else ""

    @property
    def is_total(self) -> bool:
        """Whether it is a disclosed quantity of the whole organisation."""
        return "/" not in self.id and not self.id.startswith(NO_TOTAL)

    @property
    def moved(self) -> Fraction | None:
        """The share by which its value moved; from 0 to something counts as wholly."""
        if self.absolute is None:
            return None
        return abs(self.relative) if self.relative is not None else Fraction(1 if self.absolute else 0)


def difference(old: Edition, new: Edition, changes: InputChanges | None = None) -> list[FigureChange]:
    """Every figure that differs, what moved most first; those without a change in value come last.

    Args:
        old: the edition before.
        new: the one after.
        changes: of their inputs, where they are known already.
    """
    changes = input_changes(old, new) if changes is None else changes
    figure_changes = []
    for identity in old.figures.keys() | new.figures.keys():
        before, after = old.figures.get(identity), new.figures.get(identity)
        if before != after:
            figure_changes.append(_change(identity, (old, new), changes))
    return sorted(figure_changes, key=_order)


def elsewhere(old: Edition, new: Edition) -> list[str]:
    """Return the keys of facts that differ outside figures and inputs, such as a sum of the conservation check."""
    pairs = {
        "label": (old.label, new.label),
        "edition": (old.number, new.number),
        "restates": (old.restates, new.restates),
    }
    differing = [key for key, (a, b) in pairs.items() if a != b]
    differing += [key for key in old.rest.keys() | new.rest.keys() if old.rest.get(key) != new.rest.get(key)]
    both = old.sites.keys() & new.sites.keys()
    return sorted(differing + [f"sites.{site}" for site in both if old.sites[site][2] != new.sites[site][2]])


def same_period(old: Edition, new: Edition) -> bool:
    """Whether both are of one named period, or of times that overlap, so that they can be editions of one report.

    The bounds of a site may be others, as those of an interim edition are.
    """
    if old.label or new.label:
        return old.label == new.label
    both = old.sites.keys() & new.sites.keys()
    return not both or any(old.sites[s][0] < new.sites[s][1] and new.sites[s][0] < old.sites[s][1] for s in both)


def restatement_due(changes: list[FigureChange], threshold: Fraction = THRESHOLD) -> list[FigureChange]:
    """Totals of the organisation that moved by `threshold` or more: comparatives are to be restated where there is one."""
    return [each for each in changes if each.is_total and each.moved is not None and each.moved >= threshold]


def _change(identity: str, editions: tuple[Edition, Edition], changes: InputChanges) -> FigureChange:
    old, new = (edition.figures.get(identity) for edition in editions)
    causes = causes_of(old, new, changes)
    a, b = old.figure.value if old else None, new.figure.value if new else None
    reason = ""
    if (a is None) != (b is None):
        here = old if a is None else new
        reason = (here.figure.reason if here else "") or ""
        causes = (Cause.APPEARED if a is None else Cause.DISAPPEARED, *(causes or (() if reason else (Cause.UNEXPLAINED,))))
    elif a is None and new is not None:
        reason = new.figure.reason or ""
    parts = parts_of(identity, *editions, causes, changes)
    if not causes or any(Cause.UNEXPLAINED in part.causes for part in parts):
        causes = (*causes, Cause.UNEXPLAINED)
    change = FigureChange(identity, old, new, None, None, None, causes, parts, reason)
    if old is None or new is None or a is None or b is None or old.figure.unit != new.figure.unit:
        return change
    return replace(change, absolute=b - a, relative=(b - a) / abs(a) if a else None, overlap=_overlap(old.figure, new.figure))


def _overlap(old: Figure, new: Figure) -> bool | None:
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return None
    return old.low <= new.high and new.low <= old.high


def _order(change: FigureChange) -> tuple[int, Fraction, str]:
    if change.moved:
        return (0 if change.relative is None else 1, -change.moved, change.id)
    return (3 if change.absolute is not None else 2, Fraction(0), change.id)
