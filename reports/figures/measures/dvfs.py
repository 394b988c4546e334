"""What steering clocks and power limits saved: signed estimates outside the inventory, and what was set."""

from collections.abc import Iterator

from reports.figures.evidence import Evidence
from reports.figures.figure import LEDGER, Figure, Interval, quotient_bounds, quotient_text
from reports.figures.measures._measure import Measure


def figures(evidence: Evidence) -> Iterator[Figure]:
    """The saving is absent without a statement of paired blocks; `low` is what may be claimed."""
    savings = evidence.savings
    if savings is None:
        yield Figure("dvfs.saved", None, "J", "paired blocks", "gpu", reason="no savings statement given")
    else:
        low, high = quotient_bounds(Interval(savings.low_j, savings.high_j))
        yield Figure("dvfs.saved", quotient_text(savings.saved_j), "J", savings.method, "gpu", None, low, high, ("savings",))
        if savings.slowdown_ratio is not None:
            slowdown = quotient_text(savings.slowdown_ratio)
            yield Figure("dvfs.slowdown", slowdown, "ratio", savings.method, "gpu", sources=("savings",))
        for part in savings.parts:
            low, high = quotient_bounds(Interval(part.low_j, part.high_j))
            dims = {"group": part.name} | (
                {} if part.slowdown_ratio is None else {"slowdown": quotient_text(part.slowdown_ratio)}
            )
            yield Figure(
                f"dvfs.saved/group/{part.name}", quotient_text(part.saved_j), "J", savings.method, "gpu", None, low, high,
                ("savings",), dims=dims,
            )  # fmt: skip
        for name, reason in savings.untold:
            yield Figure(f"dvfs.saved/group/{name}", None, "J", savings.method, "gpu", dims={"group": name}, reason=reason)
    for row in evidence.sums.actions:
        dims = {"site": row.site, "policy": row.policy, "action": row.action, "outcome": row.outcome}
        identity = f"dvfs.actions/{row.site}/{row.policy}/{row.action}/{row.outcome}"
        yield Figure(identity, str(row.actions), "actions", "count", "gpu", sources=LEDGER, dims=dims)


SPEC = Measure("what steering saved, and what it set", figures)
