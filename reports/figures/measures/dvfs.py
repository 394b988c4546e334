"""What steering clocks and power limits saved: signed estimates outside the inventory, and what was set."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from energy_agent.core.units import UJ_PER_J
from energy_agent.ledger.rows.kinds import PPM
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import LEDGER, Figure
from reports.figures.measures._measure import Measure
from reports.ledger.savings import slowest, total_saved
from reports.ledger.sums import GroupSaving, SavingEstimate, Slowdown

PAIRED: Final = "paired on/off blocks in random order"
NONE: Final = "no analysis of paired blocks in the period"
LISTED: Final = 50
"""Maximum number of groups with figures of their own, largest saving or loss first, and of reasons for unused pairs."""


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Savings, absent where no pairs of blocks prove them; and counts of what was set."""
    savings = evidence.sums.savings
    yield from _of("", {}, _whole(savings.groups))
    for site in sorted({group.site for group in savings.groups}):
        yield from _of(f"/site/{site}", {"site": site}, _whole([g for g in savings.groups if g.site == site]))
    for group in sorted(savings.groups, key=_order)[:LISTED]:
        yield from _of(f"/group/{group.site}/{group.group}", {"site": group.site, "group": group.group}, group)
    if savings.pairs or savings.excluded:
        excluded = sum(count for _, count in savings.excluded)
        yield Figure("dvfs.pairs", Fraction(savings.pairs), "pairs", PAIRED, "gpu", sources=LEDGER)
        yield Figure("dvfs.pairs.excluded", Fraction(excluded), "pairs", PAIRED, "gpu", sources=LEDGER)
    for why, count in sorted(savings.excluded, key=lambda each: (-each[1], each[0]))[:LISTED]:
        identity, dims = f"dvfs.pairs.excluded/why/{why}", {"why": why}
        yield Figure(identity, Fraction(count), "pairs", PAIRED, "gpu", sources=LEDGER, dims=dims)
    for row in evidence.sums.actions:
        dims = {"site": row.site, "policy": row.policy, "action": row.action, "outcome": row.outcome}
        identity = f"dvfs.actions/{row.site}/{row.policy}/{row.action}/{row.outcome}"
        yield Figure(identity, Fraction(row.actions), "actions", "count", "gpu", sources=LEDGER, dims=dims)


def _whole(groups: Sequence[GroupSaving]) -> GroupSaving:
    """Combine groups; if no group has a result, the combined group has their reasons."""
    estimated = [group for group in groups if group.saved is not None]
    reasons = sorted({group.reason for group in groups})
    reason = NONE if not reasons else "; ".join(reasons[:3])
    if not estimated:
        return GroupSaving("", "", reason=reason)
    claimed_uj, lost_uj = sum(group.claimed_uj for group in estimated), sum(group.lost_uj for group in estimated)
    return GroupSaving("", "", total_saved(estimated), claimed_uj, lost_uj, slowest(estimated))


def _order(group: GroupSaving) -> tuple[int, str, str]:
    saved = group.saved or SavingEstimate(0, 0, 0)
    return -max(abs(saved.value_uj), abs(group.claimed_uj)), group.site, group.group


def _of(place: str, dims: Mapping[str, str], group: GroupSaving) -> Iterator[Figure]:
    if group.saved is None:
        for quantity, unit in (("saved", "J"), ("claimed", "J"), ("lost", "J"), ("slowdown", "ratio")):
            yield Figure(f"dvfs.{quantity}{place}", None, unit, PAIRED, "gpu", sources=LEDGER, dims=dims, reason=group.reason)
        return
    low, high = Fraction(group.saved.low_uj, UJ_PER_J), Fraction(group.saved.high_uj, UJ_PER_J)
    value = Fraction(group.saved.value_uj, UJ_PER_J)
    yield Figure(f"dvfs.saved{place}", value, "J", PAIRED, "gpu", None, low, high, LEDGER, dims=dims)
    for quantity, uj in (("claimed", group.claimed_uj), ("lost", group.lost_uj)):
        yield Figure(f"dvfs.{quantity}{place}", Fraction(uj, UJ_PER_J), "J", PAIRED, "gpu", sources=LEDGER, dims=dims)
    if group.slowdown is not None:
        yield _slowdown(f"dvfs.slowdown{place}", group.slowdown, dims)


def _slowdown(identity: str, slowdown: Slowdown, dims: Mapping[str, str]) -> Figure:
    value, low, high = (Fraction(ppm, PPM) for ppm in (slowdown.ppm, slowdown.low_ppm, slowdown.high_ppm))
    return Figure(identity, value, "ratio", PAIRED, "gpu", None, low, high, LEDGER, dims={**dims, "of": slowdown.of})


SPEC = Measure("savings of steering, and applied settings", figures)
