"""Inputs and figures that differ between two editions. No change of a figure is attributed to an input. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from reports.audit.edition import Edition, StatedFigure
from reports.audit.manifest import Argument
from reports.figures.facts import ChangedInput, RestatedTotal
from reports.figures.figure import Figure
from reports.period import utc_text

THRESHOLD: Final = Fraction(5, 100)
"""Share of a total from which on comparatives are restated, where an organisation has not set its own."""
NO_TOTAL: Final = ("bridge.", "coverage", "crosscheck.", "dvfs.pairs", "quality.", "share.")
"""Figures of the whole organisation, by how their names begin, that are no disclosed quantity: they restate nothing."""
NAMES: Final = frozenset({"fonts", "formats", "language", "ledger", "org", "paper", "reason", "restated_inputs", "restatement"})
"""Arguments that do not decide a figure: locations of files, the form of the report, and the restatement itself."""
_SHOWN_MAX: Final = 40
"""Longer values, such as hashes, are not part of the text of a change."""


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
        reason: why the figure appeared, disappeared or has no value, according to the editions; "" if they give no reason.
    """

    id: str
    old: StatedFigure | None
    new: StatedFigure | None
    absolute: Fraction | None
    relative: Fraction | None
    overlap: bool | None
    reason: str = ""

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


def input_changes(old: Edition, new: Edition) -> tuple[ChangedInput, ...]:
    """Return every input that differs: days, program, factors, the organisation's files, arguments, sites.

    Program and arguments are compared only if both editions state them.
    """
    before, after = _inputs(old), _inputs(new)
    return tuple(
        ChangedInput(kind, name, _describe_change(a.get(name), b.get(name)))
        for kind, a in before.items()
        if (b := after.get(kind)) is not None
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    )


def difference(old: Edition, new: Edition) -> list[FigureChange]:
    """Every figure that differs, what moved most first; those without a change in value come last."""
    changed = [name for name in old.figures.keys() | new.figures.keys() if old.figures.get(name) != new.figures.get(name)]
    return sorted((_change(name, old.figures.get(name), new.figures.get(name)) for name in changed), key=_order)


def restated_totals(old: Edition, new: Edition) -> tuple[RestatedTotal, ...]:
    """Return the totals that changed, by id."""
    return tuple(
        RestatedTotal(each.id, each.unit, each.old.figure.text, each.new.figure.text, each.moved >= THRESHOLD)
        for each in sorted(difference(old, new), key=lambda change: change.id)
        if each.is_total and each.moved and each.old and each.new
    )


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


_Inputs = Mapping[str, Mapping[str, str]]
"""Inputs of one kind: name -> key -> value."""


def _inputs(edition: Edition) -> dict[str, _Inputs]:
    """The inputs of an edition by kind; program and arguments only if it states them.

    Factors are those with a record, and those that figures name: an hourly series has no record.
    """
    named: dict[str, Mapping[str, str]] = {name: {} for each in edition.figures.values() for name in each.figure.factor_ids}
    name, _, version = (edition.program or "").partition(" ")
    command = edition.command or {}
    kinds: dict[str, _Inputs | None] = {
        "day": {
            f"{site} {date}": {
                "statement": str(day.statement),
                "segments": day.inputs_sha256,
                "files": "\n".join(day.lines),
            }
            for (site, date), day in edition.inputs.days.items()
        },
        "program": None if edition.program is None else {name: {"version": version}},
        "factor": named | {name: each.attributes | {"table": each.sha256} for name, each in edition.inputs.factors.items()},
        "file": {name: {"content": digest} for name, digest in edition.inputs.files.items()},
        "argument": None
        if edition.command is None
        else {name: {"value": _argument_text(name, value)} for name, value in command.items() if name not in NAMES},
        "site": {site: {"start": utc_text(start), "end": utc_text(end)} for site, (start, end, _) in edition.sites.items()},
    }
    return {kind: inputs for kind, inputs in kinds.items() if inputs is not None}


def _argument_text(name: str, value: Argument) -> str:
    if name == "as_of_ns" and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return utc_text(int(value))
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _describe_change(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> str:
    if old is None:
        return "new"
    if new is None:
        return "removed"
    texts = []
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key, "-"), new.get(key, "-")
        if a != b:
            texts.append(f"different {key}" if max(len(a), len(b)) > _SHOWN_MAX else f"{key} {a} -> {b}")
    return "; ".join(texts)


def _change(identity: str, old: StatedFigure | None, new: StatedFigure | None) -> FigureChange:
    a, b = old.figure.value if old else None, new.figure.value if new else None
    absent = old if a is None and b is not None else new
    reason = (absent.figure.reason if absent else "") or ""
    change = FigureChange(identity, old, new, None, None, None, reason)
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
