"""The demo's final output: the summary, the steering verdict and the location of every file, as text or as JSON. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from energy_agent.core.proof import Analysis, ProofRow
from energy_agent.ledger.rows.kinds import PPM
from energy_agent.ledger.rows.uncertainty import Bounds
from wattlens import summary

_SLOWDOWN = {"latency": "time between tokens", "time_per_work": "time per token"}


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


@dataclass(frozen=True, slots=True)
class DemoResult:
    """A finished run. `saving` is the governor's verdict, {} without one; `files` is relative to `out`."""

    ledger_summary: summary.LedgerSummary
    names: Mapping[str, str]
    saving: Mapping[str, Any]
    restored: bool
    out: Path
    files: Mapping[str, str]
    building: str = ""  # what its ledger comes to, in lines

    @property
    def ok(self) -> bool:
        """Everything added up and every setting is back."""
        return self.ledger_summary.conserved and not self.ledger_summary.chain_faults and self.restored


def text(result: DemoResult) -> str:
    """For a person, at most 80 columns wide but for a long path."""
    lines = [
        summary.text(result.ledger_summary, result.names),
        "",
        "DVFS (policy static: blocks with and without a lower SM clock)",
        *(f"  {line}" for line in saving_lines(result.saving)),
        f"  original settings: {'restored' if result.restored else 'NOT restored'}",
        "",
        "Building",
        *(f"  {line}" if line else "" for line in result.building.splitlines()),
        "",
        f"Written to {result.out}",
        *(f"  {path:18} {what}" for path, what in result.files.items()),
    ]
    return "\n".join(lines)


def saving_lines(saving: Mapping[str, Any]) -> list[str]:
    """Return the verdict, or why it is missing."""
    ratio, slowdown = saving.get("saving_ratio"), saving.get("slowdown_ratio")
    if ratio is None or slowdown is None:
        return [f"not available: {saving.get('reason') or 'no paired blocks were measured'}"]
    lower = "lower" if ratio["value"] >= 0 else "higher"
    what = slowdown_of(saving)
    sign = 1 if ratio["value"] >= 0 else -1
    low, high = sorted((sign * ratio["lower"], sign * ratio["upper"]))
    width = max(len("J/token"), len(what))
    return [
        f"{'J/token':{width}}  {100 * abs(ratio['value']):.1f} % {lower} (95 % interval {100 * low:.1f} to {100 * high:.1f} %)",
        f"{what:{width}}  {100 * slowdown['value']:+.1f} % "
        f"(95 % interval {100 * slowdown['lower']:+.1f} to {100 * slowdown['upper']:+.1f} %)",
        f"{saving['pairs']} pairs of blocks; proven saving: {saving['claimable_uj'] / 1e6:,.0f} J",
    ]


def slowdown_of(saving: Mapping[str, Any]) -> str:
    """What became slower, in words."""
    return _SLOWDOWN.get(saving.get("slowdown_of", ""), "time per token")


def document(result: DemoResult) -> dict[str, Any]:
    """For a program: integers in uJ."""
    ledger = result.ledger_summary

    def bounds(pairs: Iterable[tuple[str, Bounds]]) -> dict[str, dict[str, int]]:
        return {name: {"energy_uj": b.energy_uj, "lower_uj": b.low_uj, "upper_uj": b.high_uj} for name, b in pairs}

    return {
        "simulated": True,
        "devices": bounds(ledger.gpus.devices),
        "workloads": bounds(ledger.gpus.workloads),
        "unallocated_uj": ledger.gpus.unallocated_uj,
        "unattributed_uj": ledger.gpus.unattributed_uj,
        "total": bounds([("all", ledger.total)])["all"],
        "tokens": [asdict(cost) for cost in ledger.tokens],
        "boundary": ledger.boundary,
        "hosts": bounds(ledger.host.devices),
        "host_workloads": bounds(ledger.host.workloads),
        "host_unallocated_uj": ledger.host.unallocated_uj,
        "host_unattributed_uj": ledger.host.unattributed_uj,
        "conserved": ledger.conserved,
        "chain_faults": list(ledger.chain_faults),
        "saving": dict(result.saving),
        "settings_restored": result.restored,
        "building": result.building,
        "files": {str(result.out / path): what for path, what in result.files.items()},
    }
