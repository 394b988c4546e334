"""Where the energy went: workloads by what they held, then what nobody held and what could not be attributed."""

from fractions import Fraction

from reports import wording
from reports.facts import Facts
from reports.figures import Figure, energy_text, microjoules
from reports.sections._section import Bar, Bars, Hidden, Section

MOST = 8
"""Bars of workloads on one page; the rest are one bar, so that the chart still adds up."""

KINDS = {"active": "active", "idle": "held idle", "unheld": "not held", "unattributed": "not attributed"}


def build(facts: Facts) -> tuple[Bars] | Hidden:
    """One bar a workload, the largest first."""
    totals = sorted(facts.by_prefix("energy.workload/"), key=lambda f: (-microjoules(f), f.id))
    bars = [_workload(facts, [f]) for f in totals[:MOST]]
    if totals[MOST:]:
        bars.append(_workload(facts, totals[MOST:], f"{len(totals) - MOST} other workloads"))
    unheld = facts.figures["energy.unheld"]
    if microjoules(unheld):
        bars.append(Bar("nobody (idle device)", wording.energy(unheld.value or "0"), (("unheld", microjoules(unheld)),)))
    for figure in facts.by_prefix("energy.unattributed/"):
        if microjoules(figure):
            label = figure.dims["reason"].replace("_", " ")
            bars.append(Bar(label, wording.energy(figure.value or "0"), (("unattributed", microjoules(figure)),)))
    if not bars:
        return Hidden("no energy in the period")
    return (Bars("Energy by workload", KINDS, tuple(bars)),)


def _workload(facts: Facts, totals: list[Figure], label: str = "") -> Bar:
    names = [f.dims["workload"] for f in totals]
    parts = {
        state: sum(microjoules(facts.figures[f"energy.workload.{state}/{w}"]) for w in names) for state in ("active", "idle")
    }
    total = sum(parts.values())
    share = wording.percent(Fraction(total, facts.conservation.device_uj or 1))
    return Bar(label or facts.workloads[names[0]], f"{wording.energy(energy_text(total))}, {share}", tuple(parts.items()))


SPEC = Section("Where the energy went", 20, build, wide=True)
