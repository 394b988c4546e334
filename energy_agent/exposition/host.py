"""Samples of the node without its GPUs. Pure."""

from collections.abc import Mapping

from energy_agent.core.boundary import domain
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import UJ_PER_J, decimal
from energy_agent.exposition.gpu import FamilySamples

_MILLI = 1_000
NO_POD = ("", "")


def put(snapshot: Snapshot, pods: Mapping[str, tuple[str, ...]], families: FamilySamples) -> None:
    """Add the samples of the meters, the host and the workloads' shares of it; `pods`: namespace and pod of workloads."""
    families["energy_boundary_info"].append(((snapshot.boundary,), "1"))
    for meter in snapshot.meters:
        families["node_energy_joules_total"].append(((meter.source, meter.domain), decimal(meter.energy_uj, UJ_PER_J)))
        if meter.power_mw is not None:
            families["node_power_watts"].append(((meter.source, meter.domain), decimal(meter.power_mw, _MILLI)))
    for host in snapshot.hosts:
        name = domain(host.device)
        for method, uj in host.energy_uj.items():
            families["node_nongpu_energy_joules_total"].append(((name, method), decimal(uj, UJ_PER_J)))
        if host.gain_uncertainty_ratio is not None:
            families["node_nongpu_energy_gain_uncertainty_ratio"].append(((name,), repr(host.gain_uncertainty_ratio)))
        if host.energy_uj:
            families["node_nongpu_unallocated_energy_joules_total"].append(((name,), decimal(host.unallocated_uj, UJ_PER_J)))
            for reason, uj in host.unattributed_uj.items():
                families["node_nongpu_unattributed_energy_joules_total"].append(((name, reason), decimal(uj, UJ_PER_J)))
        if host.gap_bound_uj is not None:
            families["node_nongpu_energy_gap_bound_joules_total"].append(((name,), decimal(host.gap_bound_uj, UJ_PER_J)))
    for share in snapshot.host_workloads:
        labels = (share.workload, *pods.get(share.workload, NO_POD), domain(share.device), share.state)
        families["workload_nongpu_energy_joules_total"].append((labels, decimal(share.energy_uj, UJ_PER_J)))
