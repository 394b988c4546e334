"""What the rows of the demo's ledger prove of its steering. Pure."""

from collections.abc import Iterable
from typing import Any

from energy_agent.core.proof import Analysis, ProofRow
from energy_agent.ledger.rows.kinds import PPM


def proven(rows: Iterable[ProofRow], planned: int) -> dict[str, Any]:
    """Return the last analysis as ratios, and the claimable and lost energy after all analyses; or why there is no analysis.

    Args:
        rows: rows of one group.
        planned: pairs of blocks until the analysis.
    """
    analyses, pairs = list[Analysis](), 0
    for row in rows:
        if isinstance(row, Analysis):
            analyses.append(row)
        else:
            pairs += not row.excluded
    last = max(analyses, key=lambda row: (row.since_ns, row.number), default=None)
    if last is None:
        return {"pairs": pairs, "reason": f"{pairs} of the {planned} pairs of blocks were measured"}
    if last.reason:
        return {"pairs": last.pairs, "reason": last.reason}
    ends = {"value": last.saved_uj, "lower": last.low_uj, "upper": last.high_uj}
    slower = {"value": last.slowdown_ppm, "lower": last.slowdown_low_ppm, "upper": last.slowdown_high_ppm}
    return {
        "pairs": last.pairs,
        # Of what would have been used without the setting: what was used with it, and what was saved.
        "saving_ratio": {name: uj / (last.covered_uj + uj) for name, uj in ends.items()},
        "slowdown_ratio": {name: ppm / PPM for name, ppm in slower.items()},
        "slowdown_of": last.slowdown_of,
        "saved_uj": ends,
        "claimable_uj": sum(row.claimed_uj for row in analyses),
        "lost_uj": sum(row.lost_uj for row in analyses),
    }
