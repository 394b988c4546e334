"""Metrics of the node without its GPUs. Pure."""

from collections.abc import Mapping
from typing import Final

from energy_agent.core.boundary import domain
from energy_agent.core.catalogue.metric import NODE, Row, Scrape, Signal, Source, each, listed
from energy_agent.core.snapshot import HostView, Snapshot


def _hosts(scrape: Scrape[Snapshot]) -> list[Row]:
    return [((domain(host.device),), host) for host in scrape.snapshot.hosts]


def _unallocated(host: HostView) -> int | None:
    return host.unallocated_uj if host.energy_uj else None


def _unattributed(host: HostView) -> Mapping[str, int]:
    return host.unattributed_uj if host.energy_uj else {}


METERS: Final = listed("meters", "source", "domain")
HOSTS: Final = Source(("domain",), _hosts)

_RECORDED: Final = (
    "From the journal: appears with the first recorded interval, two readings of the meter after its start, and never falls."
)

HOST: Final = (
    Signal("energy_boundary_info", "Boundary of the ledger's energy: gpu, gpu+cpu or node.",
           "Always 1; the labels have the information.", NODE, "boundary", ("boundary",)),
    Signal("node_energy_joules_total",
           "Energy by a meter of the node. Its domain is the whole node, a module, a socket of Grace, a processor package or "
           "memory. Domains overlap, so do not add them.",
           "From the journal: starts at 0 at the meter's first reading. Absent while the meter does not respond; then "
           "resumes at a higher value.", METERS, "energy_uj"),
    Signal("node_power_watts", "Power by a meter of the node; for an energy counter, the mean since its previous reading.",
           "Last reading. Absent while the meter does not respond.", METERS, "power_mw"),
    Signal("node_nongpu_energy_joules_total",
           "Energy of the node without its GPUs. Domain host: all of it. Without a whole-node meter: package-N and dram-N, "
           "which are parts of it.", _RECORDED, each(HOSTS, "energy_uj", "method")),
    Signal("node_nongpu_energy_gain_uncertainty_ratio",
           "Bound of the systematic error of node_nongpu_energy_joules_total, as a ratio of its meter's reading.",
           "Absent until the meter has responded.", HOSTS, "gain_uncertainty_ratio"),
    Signal("node_nongpu_unallocated_energy_joules_total", "Part of node_nongpu_energy_joules_total for unallocated GPUs.",
           _RECORDED, HOSTS, _unallocated),
    Signal("node_nongpu_unattributed_energy_joules_total",
           "Part of node_nongpu_energy_joules_total whose workload is unknown, by reason.", _RECORDED +
           " Reasons: unknown_holder, gap, starting.", each(HOSTS, _unattributed, "reason")),
    Signal("node_nongpu_energy_gap_bound_joules_total",
           "Upper bound of energy that no meter saw, if a bound is known; not part of the energy counters.", _RECORDED, HOSTS,
           "gap_bound_uj"),
)  # fmt: skip
