"""Find the inputs that differ between two editions, and the figures that each difference can have changed. Pure.

An input is a cause only of the figures it can reach: a restated day of a site changes figures of that site or of all sites, a
revised factor changes the figures that name it. A figure that no change can reach is reported as unexplained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from energy_agent.core.units import NS_PER_DAY
from reports.audit.edition import Edition, StatedFigure
from reports.audit.inputs import LedgerDay
from reports.audit.manifest import Argument
from reports.period import Period, day_ns, quarters, utc_text

NOT_MEASURED: Final = frozenset({"declared", "factors", "inventory", "organisation", "savings", "stated"})
"""Sources that the ledger does not feed: late data cannot move a figure that has no other."""
CARBON: Final = ("bridge.co2e", "bridge.lifecycle", "co2e", "cue", "grid_intensity", "sci_per_token", "sci_per_processed_token")
"""Figures, by how their names begin, that factors can reach though they name none."""
NAMES: Final = frozenset({"fonts", "formats", "language", "ledger", "org", "paper", "reason", "restatement"})
"""Arguments that say where something lay, what was restated or how figures are shown, and decide none."""
_AS_OF: Final = "as_of_ns"
_BY_FACTOR: Final = frozenset({_AS_OF, "accept_old", "country"})
"""Arguments that choose factors: they show as a factor revision."""
_SAVINGS: Final = "dvfs."
_REACH: Final = {"saved": "dvfs.", "slowdown": "dvfs.", "prometheus": "crosscheck."}
"""Arguments, by how their names begin, that reach figures of one kind alone."""


class Cause(StrEnum):
    """Why a figure differs."""

    LATE_DATA = "late data"
    FACTOR = "factor revision"
    METHOD = "method"
    BOUNDARY = "boundary"
    COVERAGE = "coverage"
    FILES = "organisation's files"
    PROGRAM = "program version"
    ARGUMENTS = "arguments"
    PERIOD = "period"
    APPEARED = "appeared"
    DISAPPEARED = "disappeared"
    ROUNDING = "rounding"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class DayChange:
    """A site's day that is not the same input. `late`: it lies in the period of the old edition."""

    site: str
    day: str
    old: LedgerDay | None
    new: LedgerDay | None
    late: bool

    @property
    def text(self) -> str:
        """One line."""
        where = f"{self.site} {self.day}"
        if self.old is None and self.new is not None:
            return f"{where}: new, statement {self.new.statement}"
        if self.new is None:
            return f"{where}: removed"
        assert self.old is not None
        if self.old.statement != self.new.statement:
            same = self.old.inputs_sha256 == self.new.inputs_sha256
            return f"{where}: statement {self.old.statement} -> {self.new.statement}" + (
                " of the same segments" if same else ""
            )
        return f"{where}: different content, same statement {self.new.statement}"


@dataclass(frozen=True, slots=True)
class InputChanges:
    """All inputs that differ, by kind. A mapping is name -> description of the difference.

    Args:
        days: days whose input differs.
        late_sites: sites with such a day in the old period.
        series: hourly factors in use whose values may differ because the editions use them as of different times.
        program: the program's difference; None: no difference, or an edition does not name its program.
        arguments: the arguments' difference; None: no difference, or an edition does not list them.
        periods: sites whose period has other bounds.
        sites: sites that were added or removed.
        proof_sites: sites whose savings those days can change. This includes days of the quarter before the period, and days
            after it on which an agent that had been down closed its experiments.
    """

    days: tuple[DayChange, ...]
    late_sites: frozenset[str]
    series: frozenset[str]
    factors: dict[str, str]
    files: dict[str, str]
    program: str | None
    arguments: dict[str, str]
    periods: dict[str, str]
    sites: dict[str, str]
    proof_sites: frozenset[str] = frozenset()

    def lines(self) -> list[str]:
        """Each of it as a line; none: nothing differs."""
        texts = [day.text for day in self.days] + ([f"program: {self.program}"] if self.program else [])
        by_kind = {"factor": self.factors, "file": self.files, "argument": self.arguments}
        by_kind |= {"period of": self.periods, "site": self.sites}
        return texts + [f"{kind} {name}: {text}" for kind, named in by_kind.items() for name, text in named.items()]


def input_changes(old: Edition, new: Edition) -> InputChanges:
    """What differs between the inputs of two editions."""
    days = []
    for key in sorted(old.inputs.days.keys() | new.inputs.days.keys()):
        before, after = old.inputs.days.get(key), new.inputs.days.get(key)
        if before != after:
            late = key[0] in old.sites and _touches(key[1], *old.sites[key[0]][:2])
            days.append(DayChange(*key, before, after, late))
    program = None
    if old.program is not None and new.program is not None and old.program != new.program:
        program = f"{old.program} -> {new.program}"
    arguments = {}
    if old.command is not None and new.command is not None:
        arguments = _differing(old.command, new.command)
    both = sorted(old.sites.keys() & new.sites.keys())
    return InputChanges(
        days=tuple(days),
        late_sites=frozenset(day.site for day in days if day.late),
        proof_sites=frozenset(  # an experiment of the old period has its analyses from the start of its quarter on
            day.site
            for day in days
            if day.site in old.sites and _touches(day.day, quarters(Period(*old.sites[day.site][:2]))[0][0], inf)
        ),
        series=_series(old, new),
        factors=_factors(old, new),
        files=_hashes(old, new),
        program=program,
        arguments=arguments,
        periods={site: "different start or end" for site in both if old.sites[site][:2] != new.sites[site][:2]},
        sites=_come_and_gone(old.sites, new.sites),
    )


def causes_of(old: StatedFigure | None, new: StatedFigure | None, changes: InputChanges) -> tuple[Cause, ...]:
    """What can have moved a figure, and its properties that differ (method, boundary, coverage)."""
    site = site_of(new or old)
    identity = next(each.figure.id for each in (new, old) if each)
    causes = []
    measured = any(not set(each.figure.sources) <= NOT_MEASURED or not each.figure.sources for each in (old, new) if each)
    late = changes.proof_sites if identity.startswith(_SAVINGS) else changes.late_sites
    if measured and (late if site is None else site in late):
        causes.append(Cause.LATE_DATA)
    factors = [frozenset(each.figure.factor_ids) if each else frozenset() for each in (old, new)]
    named = factors[0] | factors[1]
    revised = changes.factors.keys() | changes.series
    if factors[0] != factors[1] or named & revised or (not named and revised and identity.startswith(CARBON)):
        causes.append(Cause.FACTOR)
    if old and new:
        a, b = old.figure, new.figure
        causes += [Cause.METHOD] if (a.method, a.unit) != (b.method, b.unit) else []
        causes += [Cause.BOUNDARY] if a.boundary != b.boundary or (site is None and changes.sites) else []
        causes += [Cause.COVERAGE] if a.coverage != b.coverage else []
    causes += [Cause.FILES] if changes.files else []
    causes += [Cause.PROGRAM] if changes.program else []
    causes += [Cause.ARGUMENTS] if any(_reaches(name, identity) for name in changes.arguments) else []
    if site in changes.periods or (site is None and changes.periods):
        causes.append(Cause.PERIOD)
    return tuple(causes)


def roots(causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """Of what can have moved a figure, that which did: not what only comes with it.

    Coverage moves with the data, and so does the method where late data came and the program is the same; alone they count.
    """
    remaining = causes
    if set(remaining) - {Cause.COVERAGE}:
        remaining = tuple(c for c in remaining if c is not Cause.COVERAGE)
    if Cause.LATE_DATA in remaining and not {Cause.PROGRAM, Cause.FILES, Cause.ARGUMENTS} & set(remaining):
        remaining = tuple(c for c in remaining if c is not Cause.METHOD)
    return remaining


def site_of(stated: StatedFigure | None) -> str | None:
    """The one site that a figure is of; None: it is of them all, or of what may be at any."""
    if stated is None:
        return None
    figure = stated.figure
    parts = figure.id.split("/", 2)
    return figure.dims.get("site") or (parts[2] if len(parts) == 3 and parts[1] == "site" else None)


def _touches(day: str, start_ns: int, end_ns: float) -> bool:
    """Return whether a UTC day overlaps an interval. A day without a valid date counts as overlapping, so it is not missed."""
    try:
        begins_ns = day_ns(day)
    except ValueError:
        return True
    return begins_ns < end_ns and begins_ns + NS_PER_DAY > start_ns


def _factors(old: Edition, new: Edition) -> dict[str, str]:
    """Factors that are new, gone or other, and what of them is other; a series is named by its hash in the figures alone."""
    a, b = old.inputs.factors, new.inputs.factors
    changes = _come_and_gone(_named(old), _named(new))
    for name in a.keys() & b.keys():
        if a[name] != b[name]:
            fields = sorted(
                k
                for k in a[name].attributes.keys() | b[name].attributes.keys()
                if a[name].attributes.get(k) != b[name].attributes.get(k)
            )
            shown = [f"{k} {a[name].attributes.get(k, '-')} -> {b[name].attributes.get(k, '-')}" for k in fields[:3]]
            changes[name] = "; ".join(shown) or "different table, same record"
    return dict(sorted(changes.items()))


def _hashes(old: Edition, new: Edition) -> dict[str, str]:
    a, b = old.inputs.files, new.inputs.files
    changes = {name: "different content" for name in a.keys() & b.keys() if a[name] != b[name]}
    return dict(sorted((changes | _come_and_gone(a, b)).items()))


def _come_and_gone(a: Mapping[str, object], b: Mapping[str, object]) -> dict[str, str]:
    gone, come = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    return dict.fromkeys(gone, "removed") | dict.fromkeys(come, "new")


def _named(edition: Edition) -> dict[str, None]:
    """Ids of all factors of an edition: those with a record, and those that its figures name."""
    return dict.fromkeys([*edition.inputs.factors, *(i for each in edition.figures.values() for i in each.figure.factor_ids)])


def _series(old: Edition, new: Edition) -> frozenset[str]:
    """Ids that figures name and that stand for no one value, unless both editions took them as of the same time."""
    if old.command is not None and new.command is not None and old.command.get(_AS_OF) == new.command.get(_AS_OF):
        return frozenset()
    unlisted: set[str] = set()
    for edition in (old, new):
        known = {name for name, record in edition.inputs.factors.items() if record.value is not None}
        unlisted |= {name for each in edition.figures.values() for name in each.figure.factor_ids} - known
    return frozenset(unlisted)


def _reaches(argument: str, identity: str) -> bool:
    """Whether an argument decides a figure."""
    if argument in _BY_FACTOR:
        return False
    return next((identity.startswith(kind) for begins, kind in _REACH.items() if argument.startswith(begins)), True)


def _differing(a: Mapping[str, Argument], b: Mapping[str, Argument]) -> dict[str, str]:
    names = sorted(name for name in a.keys() | b.keys() if name not in NAMES and a.get(name) != b.get(name))
    return {name: f"{_format_argument(name, a.get(name))} -> {_format_argument(name, b.get(name))}" for name in names}


def _format_argument(name: str, value: Argument) -> str:
    if name == _AS_OF and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return utc_text(int(value))
    return "-" if value is None else ",".join(value) if isinstance(value, tuple) else str(value)
