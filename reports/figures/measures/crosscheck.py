"""Compare the ledger with other measurements of the same energy: the building's IT meters, and Prometheus.

These measurements add nothing to the ledger. Nodes are only a part of what an IT meter measures; switches, storage and other
machines are the rest. So a ledger above the meter by more than both errors is a contradiction; a ledger below it is reported.
"""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.quantity import Quantity, no_quantity
from energy_agent.core.units import UJ_PER_J
from reports.figures.energy import whole_energy
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure, amount_figure
from reports.figures.measures._measure import Measure, of_site


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """`crosscheck.it/site`: nodes over metered IT. `crosscheck.prometheus`: the counters there over the ledger."""
    for name, site in sorted(evidence.sites.items()):
        if gap := evidence.node_gap(name):
            ratio = no_quantity(gap)
        elif site.building.it.value is None or site.building.it.value <= 0:
            ratio = no_quantity(site.building.it.reason or "no IT energy was metered")
        else:
            ratio = evidence.recorded(name, "gpu", "host") / site.building.it
        how = "nodes divided by metered IT"
        yield of_site(name).figure("crosscheck.it", ratio, "ratio", how, "it", sources=("ledger", "meters"))
    ledger = whole_energy(w for w in evidence.sums.wholes if w.device_class == "gpu").quantity
    prometheus = evidence.prometheus
    if prometheus is None:
        ratio = no_quantity("no Prometheus was queried")
    elif prometheus.reason or not ledger.value:
        ratio = no_quantity(prometheus.reason or "no energy in the period")
    else:
        ratio = Quantity(Fraction(prometheus.joules) * UJ_PER_J / ledger.value)
    dims = (
        {} if prometheus is None else {"joules": prometheus.joules, "series": str(prometheus.series), "query": prometheus.query}
    )
    how = "increase of the counters divided by the ledger"
    yield amount_figure("crosscheck.prometheus", ratio, "ratio", how, "gpu", sources=("ledger", "prometheus"), dims=dims)


SPEC = Measure("comparison of the ledger with the building's meters and Prometheus", figures)
