"""Energy and CO2e that software estimated on machines without our meters: laptops and cloud jobs, apart from the ledger.

A quality class of its own: no meter, no bounds, and emissions with life-cycle factors, which answer nothing that Scope 2 asks.
A run that lies only partly in the period counts in proportion to its time in it. `energy.with_estimates` is the inventory of
the ledger plus these estimates and metered and estimated hosts outside of it (host_estimates); no other figure has an estimate.
Runs of hosts without a name are counted in `dims`: nothing shows that these hosts are not metered.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction

from energy_agent.core.quantity import ZERO, Quantity, Unit, no_quantity
from energy_agent.core.units import UJ_PER_J
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure
from reports.figures.measures import energy
from reports.figures.measures._measure import ALL, FigureSubject, Measure, of_group
from reports.figures.measures.host_estimates import QUALITY, host_estimates, outside_inventory
from reports.inputs.organisation import SoftwareEstimate

METHOD = "software estimate (CodeCarbon), without a meter"
SOURCES = ("estimates",)
UNSTATED = "a run states no emissions"


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of all runs in the period, by team, place and kind; and the inventory with them and with hosts without a meter."""
    runs = list(_runs(evidence))
    if evidence.organisation.estimates:
        yield from _of_runs(runs)
    hosts = host_estimates(evidence)
    inventory = _inventory(evidence)
    if inventory is not None and (hosts or evidence.organisation.estimates):
        estimated = sum(
            (run.energy_uj * share for run, share in runs), sum((row.uj for row in hosts), ZERO).value or Fraction(0)
        )
        outside = sum((outside_inventory(evidence, name).value or Fraction(0) for name in evidence.sites), Fraction(0))
        total = inventory + (estimated + outside) / UJ_PER_J
        how = f"the inventory of the ledger and metered hosts outside of it, plus a {METHOD}"
        sources = ("ledger", *(SOURCES if evidence.organisation.estimates else ()), *(["hosts"] if hosts else []))
        yield ALL.figure("energy.with_estimates", Quantity(total), "J", how, "mixed", sources=sources)


def _runs(evidence: PeriodEvidence) -> Iterator[tuple[SoftwareEstimate, Fraction]]:
    """The runs that have a part in the period, with that part."""
    windows = evidence.sums.windows.values()
    if not windows:
        return
    start_ns, end_ns = min(w.start_ns for w in windows), max(w.end_ns for w in windows)
    yield from ((run, share) for run in evidence.organisation.estimates if (share := _share(run, start_ns, end_ns)))


def _of_runs(runs: list[tuple[SoftwareEstimate, Fraction]]) -> Iterator[Figure]:
    named: dict[str, Callable[[SoftwareEstimate], str]] = {
        "team": lambda run: run.team,
        "place": lambda run: run.place,
        "kind": lambda run: run.kind,
    }
    yield from _of(runs, ALL)
    for dimension, name_of in named.items():
        for name in sorted({name_of(run) for run, _ in runs}):
            named_runs = [(run, share) for run, share in runs if name_of(run) == name]
            yield from _of(named_runs, of_group(dimension, name))


def _inventory(evidence: PeriodEvidence) -> Fraction | None:
    """`energy.inventory` in J, by the measure that reports it."""
    return next((figure.value for figure in energy.figures(evidence) if figure.id == "energy.inventory"), None)


def _share(run: SoftwareEstimate, start_ns: int, end_ns: int) -> Fraction:
    """The part of a run's time that lies in the period; a run without duration counts at its end."""
    if run.end_ns == run.start_ns:
        return Fraction(int(start_ns <= run.end_ns < end_ns))
    return Fraction(max(0, min(run.end_ns, end_ns) - max(run.start_ns, start_ns)), run.end_ns - run.start_ns)


def _of(runs: list[tuple[SoftwareEstimate, Fraction]], group: FigureSubject) -> Iterator[Figure]:
    unnamed = sum(run.kind == "host" and not run.host for run, _ in runs)
    of = {"quality": QUALITY, "runs": str(len(runs)), "runs_of_unnamed_hosts": str(unnamed)}
    total_uj = sum((run.energy_uj * share for run, share in runs), Fraction(0))
    yield group.figure("estimate.energy", Quantity(total_uj, unit=Unit.UJ), "J", METHOD, "node", of, sources=SOURCES)
    if any(run.grams is None for run, _ in runs):
        amount = no_quantity(UNSTATED)
    else:
        amount = Quantity(sum((Fraction(run.grams or 0) * share for run, share in runs), Fraction(0)))
    of["basis"] = "; ".join(sorted({run.basis for run, _ in runs}))
    yield group.figure("estimate.co2e.lifecycle", amount, "g", METHOD, "node", of, sources=SOURCES)


SPEC = Measure("energy and CO2e that software estimated outside the ledger", figures)
