"""What steering clocks and power limits saved, and what was done for it."""

from fractions import Fraction

from reports import wording
from reports.facts import Facts
from reports.sections._section import Hidden, Note, Section, Table

MOST = 6


def build(facts: Facts) -> tuple[Table | Note, ...] | Hidden:
    """The saving with its claimable bound, and the actions by policy."""
    saved = facts.figures["dvfs.saved"]
    actions = facts.by_prefix("dvfs.actions/")
    if saved.value is None and not actions:
        return Hidden(f"{saved.reason}, and no action in the ledger")
    blocks: list[Table | Note] = []
    if saved.value is not None and saved.low is not None and saved.high is not None:
        rows = [
            ("Saved, estimate", wording.energy(saved.value)),
            ("95 % interval", f"{wording.energy(saved.low)} to {wording.energy(saved.high)}"),
            ("Claimable (lower bound)", claimable(saved.low)),
        ]
        if slowdown := facts.figures.get("dvfs.slowdown"):
            rows.append(("Slowdown", wording.percent(slowdown.value or "0")))
        blocks.append(Table("Saving by DVFS", (), tuple(rows)))
        blocks.append(Note(f"Method: {saved.method}. Avoided energy is outside the inventory and is not subtracted from it."))
    if actions:
        words = [
            f"{f.dims['policy']}: {f.dims['action']} ({f.dims['outcome']}) {wording.count(f.value or '0')}" for f in actions
        ]
        more = f"; {len(words) - MOST} more kinds" if words[MOST:] else ""
        blocks.append(Note("Actions: " + "; ".join(words[:MOST]) + more + "."))
    return tuple(blocks)


def claimable(low: str) -> str:
    """What may be claimed of a saving: its lower bound, and nothing where that is not above zero."""
    return wording.energy(low) if Fraction(low) > 0 else "nothing"


SPEC = Section("Clock and power steering", 60, build)
