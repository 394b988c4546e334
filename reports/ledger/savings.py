"""What steering saved in a period, from the rows of the ledger: pairs of blocks and the analyses of them.

An experiment is of one group within one quarter of the year (UTC), and its analyses are cumulative, so a period's estimate is
that of the last analysis in it less that of the last one before it. What may be claimed is the sum of the adjustments that the
period's analyses made, which is below 0 where a claim fell. An analysis is of the quarter of its experiment, also where it was
written after it: the one that closes an experiment is.

A saving is avoided energy: it stands outside the inventory and is never subtracted from it. Several add up, their bounds
linearly: nobody knows how their errors hang together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

from reports.ledger.days import Day
from reports.ledger.store import DayDatabase, statements
from reports.ledger.sums import GroupSaving, SavingEstimate, Savings, Slowdown
from reports.period import Period, PeriodRequest, quarters

MISSING_ROWS: Final = "analyses of its experiment are missing from the ledger"
NO_INTERVAL: Final = "an analysis whose interval does not contain its estimate"
CLAIMS_MORE: Final = "it claims more than the lower end of its interval"


@dataclass(frozen=True, slots=True)
class _Mark:
    """The last analysis of an experiment in the period, or before it, that has an estimate, or that has none."""

    saved_uj: int
    low_uj: int
    high_uj: int
    slowdown_ppm: int
    slowdown_low_ppm: int
    slowdown_high_ppm: int
    slowdown_of: str
    reason: str

    @property
    def is_sound(self) -> bool:
        """Whether both intervals hold their estimates."""
        return (
            self.low_uj <= self.saved_uj <= self.high_uj
            and self.slowdown_low_ppm <= self.slowdown_ppm <= self.slowdown_high_ppm
        )


def savings_period(request: PeriodRequest, days: Sequence[Day]) -> Period:
    """Return the period of savings. A quarter is the UTC quarter at every site, as it is for experiments."""
    period = request.period(UTC)
    start_ns = min(d.start_ns for d in days) if period.start_ns is None else period.start_ns
    return Period(start_ns, max(d.end_ns for d in days) if period.end_ns is None else period.end_ns)


def days_of(days: Iterable[Day], sites: Iterable[str], period: Period) -> list[Day]:
    """The days that may hold a row of an experiment of the period.

    They begin with the quarter that the period begins in, and go on after its end: an agent that was down closes an experiment
    when it is back.
    """
    start_ns, names = quarters(period)[0][0], set(sites)
    return [d for d in days if d.site in names and d.end_ns > start_ns]


def read_savings(store: DayDatabase, period: Period) -> Savings:
    """The savings of a period. The store has the files of `days_of`."""
    bounds = quarters(period)
    columns = {"start_ns": "BIGINT", "end_ns": "BIGINT"}
    store.table("quarter", columns, bounds)
    store.table("savings_period", columns, [(period.start_ns, period.end_ns)])
    store.run("proof")
    ask = statements("saved")
    marks: dict[tuple[str, ...], dict[tuple[bool, bool], _Mark]] = {}
    for cluster, node, group, since_ns, inside, has_estimate, *rest in store.rows(ask["marks"]):
        marks.setdefault((cluster, node, group, since_ns), {})[bool(inside), bool(has_estimate)] = _Mark(*rest)
    by_group: dict[tuple[str, str], list[GroupSaving]] = {}
    for cluster, node, group, since_ns, site, *numbers in store.rows(ask["experiments"]):
        one = _experiment(site, group, marks[cluster, node, group, since_ns], *(int(number) for number in numbers))
        by_group.setdefault((site, group), []).append(one)
    pairs = [(reason, int(count)) for reason, count in store.rows(ask["pairs"])]
    return Savings(
        groups=tuple(_together(experiments) for _, experiments in sorted(by_group.items())),
        pairs=sum(count for reason, count in pairs if not reason),
        excluded=tuple((reason, count) for reason, count in pairs if reason),
        days=frozenset((site, int(day_ns)) for site, day_ns in store.rows(ask["proof_days"])),
    )


def _experiment(
    site: str, group: str, marks: dict[tuple[bool, bool], _Mark], analyses: int, different: int, last: int, claimed_uj: int,
    lost_uj: int, all_claimed_uj: int,
) -> GroupSaving:  # fmt: skip
    """Return what one experiment saved in the period, or why its saving is unknown."""
    nothing = GroupSaving(site, group)
    if not analyses == different == last:
        return replace(nothing, reason=MISSING_ROWS)
    now, before = marks.get((True, True)), marks.get((False, True))
    if now is None:
        return replace(nothing, reason=marks[True, False].reason)
    if not now.is_sound or (before is not None and not before.is_sound):
        return replace(nothing, reason=NO_INTERVAL)
    if all_claimed_uj > max(0, now.low_uj):
        return replace(nothing, reason=CLAIMS_MORE)
    saved = SavingEstimate(now.saved_uj, now.low_uj, now.high_uj)
    if before is not None:  # both intervals hold the truth, however their errors hang together
        saved = SavingEstimate(saved.value_uj - before.saved_uj, saved.low_uj - before.high_uj, saved.high_uj - before.low_uj)
    slowdown = Slowdown(now.slowdown_ppm, now.slowdown_low_ppm, now.slowdown_high_ppm, now.slowdown_of)
    return GroupSaving(site, group, saved, claimed_uj, lost_uj, slowdown)


def _together(experiments: Sequence[GroupSaving]) -> GroupSaving:
    """Merge the experiments of one group, or of groups with one name at a site; without a result, keep the first reason."""
    estimated = [one for one in experiments if one.saved is not None]
    if not estimated:
        return experiments[0]
    return GroupSaving(
        estimated[0].site,
        estimated[0].group,
        total_saved(estimated),
        sum(one.claimed_uj for one in estimated),
        sum(one.lost_uj for one in estimated),
        slowest(estimated),
    )


def total_saved(groups: Iterable[GroupSaving]) -> SavingEstimate | None:
    """Return the total saving of all groups that have one; None if no group has one."""
    estimates = [each.saved for each in groups if each.saved is not None]
    if not estimates:
        return None
    return SavingEstimate(
        sum(s.value_uj for s in estimates), sum(s.low_uj for s in estimates), sum(s.high_uj for s in estimates)
    )


def slowest(groups: Iterable[GroupSaving]) -> Slowdown | None:
    """The largest slowdown that was measured; None: none was."""
    return max((g.slowdown for g in groups if g.slowdown is not None), key=lambda s: (s.ppm, s.high_ppm), default=None)
