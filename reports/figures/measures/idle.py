"""Who used most, and who held devices without using them: the workloads that an engineer would talk to."""

from collections.abc import Callable, Iterator
from fractions import Fraction

from energy_agent.core.quantity import Quantity, no_quantity
from energy_agent.core.units import NS_PER_H, UJ_PER_J
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import LEDGER, Figure, amount_figure, quotient_text
from reports.figures.measures._measure import Measure
from reports.figures.measures.energy import methods
from reports.ledger.sums import WorkloadUse

SHOWN = 25


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Named workloads, and how much of the fleet's energy was used."""
    total = sum(w.energy_uj for w in evidence.sums.wholes if w.device_class == "gpu")
    active = sum(s.energy_uj for s in evidence.sums.states if s.device_class == "gpu" and s.state == "active")
    share = Quantity(Fraction(active, total)) if total else no_quantity("no energy in the period")
    yield amount_figure("share.active", share, "ratio", methods(evidence, "gpu") if total else "none", "gpu")
    for rank, used in enumerate(_by_name(evidence.sums.largest, lambda u: u.active_uj + u.idle_uj)[:SHOWN], 1):
        yield _figure(evidence, f"largest/{rank:02d}", used, used.active_uj + used.idle_uj)
    for rank, used in enumerate(_by_name(evidence.sums.idlest, lambda u: u.idle_uj)[:SHOWN], 1):
        yield _figure(evidence, f"idlest/{rank:02d}", used, used.idle_uj)


def _by_name(rows: tuple[WorkloadUse, ...], size: Callable[[WorkloadUse], int]) -> list[WorkloadUse]:
    """One row for each name of a part: a workload on several nodes is one to its team."""
    merged: dict[tuple[str, int, str], WorkloadUse] = {}
    for row in rows:
        key = (row.site, row.part, row.name)
        had = merged.get(key)
        merged[key] = row if had is None else WorkloadUse(
            *key, had.active_uj + row.active_uj, had.idle_uj + row.idle_uj, had.gpu_ns + row.gpu_ns
        )  # fmt: skip
    return sorted(merged.values(), key=lambda u: (-size(u), u.site, u.name))


def _figure(evidence: PeriodEvidence, identity: str, used: WorkloadUse, uj: int) -> Figure:
    part = evidence.sums.parts[used.part]
    allocated_uj = used.active_uj + used.idle_uj
    dims = {
        "site": used.site, "workload": used.name, "team": part.team, "project": part.project, "model": part.model,
        "precision": part.precision, "kind": part.kind, "class": part.price_class,
        "active_share": quotient_text(Fraction(used.active_uj, allocated_uj), digits=4) if allocated_uj else "0",
        "gpu_hours": quotient_text(Fraction(used.gpu_ns, NS_PER_H), digits=4),
    }  # fmt: skip
    return Figure(identity, Fraction(uj, UJ_PER_J), "J", methods(evidence, "gpu"), "gpu", sources=LEDGER, dims=dims)


SPEC = Measure("workloads with the most energy, and workloads with the most idle energy", figures)
