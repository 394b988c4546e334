"""Status of a group that is steered as one: its decisions, its error budgets and what shadow mode expects. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.workloads.error_budget import MissedShare

WINDOWS: Final = ("requests", "hour")
"""The windows of an error budget: the last 1,000 requests and the last hour."""


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """A decision of a policy, or the actuator's refusal of one.

    Args:
        t_ns: UTC ns.
        action: hold, set, release or refuse.
        setting: as of `DvfsDevice`; of several devices the lowest.
    """

    t_ns: int
    policy: str
    action: str
    reason: str
    setting: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """Error budget of one latency limit.

    Args:
        limit_s: the limit.
        attainment_ratio: share of requests that have to be within it.
        total: observations and misses since the limit was set.
        windows: the same by WINDOWS.
        reason: why nothing is known now, such as missing metrics; "": it is.
    """

    limit_s: float
    attainment_ratio: float
    total: MissedShare
    windows: Mapping[str, MissedShare]
    reason: str = ""

    def remainder(self, window: str) -> ConfidenceInterval | str:
        """Share of the budget that is left, its value at the lower bound; or the reason for its absence."""
        missed = self.windows[window]
        if self.reason or (bounds := missed.budget_left(self.attainment_ratio)) is None:
            return self.reason or "no requests in this window"
        if bounds[0] < 0 <= bounds[1]:
            return f"the histogram has no edge at the limit of {self.limit_s:g} s"  # no counts: it is a label
        return ConfidenceInterval(bounds[0], *bounds)


@dataclass(frozen=True, slots=True)
class ShadowOutlook:
    """What a policy would have done in mode shadow.

    Args:
        saving: share of energy per work, as predicted; None: unknown, see `saving_reason`.
        missed: by latency: `low` counts misses as they were, `high` those if all work had slowed in proportion to the clock.
        missed_reason: why no latency is known.
    """

    saving: ConfidenceInterval | None
    saving_reason: str
    missed: Mapping[str, MissedShare]
    missed_reason: str


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Status of a group.

    Args:
        current: the present decision of each policy.
        decisions: the last ten that changed a requested setting, and refusals; oldest first.
        budgets: by latency, ttft and itl, of those that have a limit.
        shadow: by policy, while the group is in mode shadow.
        shadow_s: for how long it has been in mode shadow.
        shadow_uj: energy of its devices over this time; None: not known.
    """

    current: tuple[PolicyDecision, ...] = ()
    decisions: tuple[PolicyDecision, ...] = ()
    budgets: Mapping[str, BudgetStatus] = field(default_factory=dict)
    shadow: Mapping[str, ShadowOutlook] = field(default_factory=dict)
    shadow_s: float = 0.0
    shadow_uj: int | None = None
