"""Energy and CO2e of processors and memory that no meter reads, as CodeCarbon estimates them, apart from the ledger.

A site is estimated only if its inventory ends at its GPUs: building meters, invoices that replace them, and meters of all nodes
contain the hosts already. At such a site each node without any meter of its host is estimated: the power of its hardware
(`HostHardware`) times the time of its longest metered GPU. Workloads take it by their share of the node's GPU time, and what is
left is unallocated; groups and that rest sum to the total, to the microjoule. No PUE is applied. Fans, network cards and losses
of power supplies are not included.

CO2e is this energy at the site's own mean grid intensity, location-based; CodeCarbon's emission factors are not used.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Final

from energy_agent.core.units import NS_PER_H, UJ_PER_J, split_integer
from energy_agent.factors.basis import EmissionBoundary
from energy_agent.site.building.ratio import Amount
from reports.figures.evidence import PeriodEvidence, plus
from reports.figures.figure import STAND_IN, Figure, amount_figure, quotient_text, rounded
from reports.figures.measures._measure import Measure, model_of, project_of
from reports.figures.measures.carbon import boundary, factor_error, factor_ids, located_of
from reports.figures.uncertainty import product_of
from reports.inputs import HostHardware, PowerEstimate, host_of
from reports.ledger.sums import NOBODY, MeteredNode

QUALITY: Final = "6: software estimate"
METHOD: Final = "CodeCarbon's power of processors and memory times the time for which the node's GPUs were metered (estimate)"
POWER: Final = "CodeCarbon's power of declared hardware (estimate)"
REPLACED: Final = "CodeCarbon's estimate, in place of a meter of the node"
SOURCES: Final = ("ledger", "hosts")
WITHIN: Final = "gpu+cpu"
IN_BUILDING: Final = "the energy of its building contains its hosts"
IN_NODES: Final = "the meters of its nodes contain its hosts"
NO_HARDWARE: Final = "no input describes processors and memory of a node without a meter"
MIXED: Final = "the sites use different bases for the emissions of the grid"
_UJ_PER_W_NS: Final = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class HostEstimate:
    """Estimated energy in uJ of a part of a node: of one component, for one part of the fleet or for nobody."""

    site: str
    component: str
    part: int
    uj: int
    low_uj: Fraction
    high_uj: Fraction


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of every site, component and group of workloads; none unless the inputs describe hosts."""
    if not evidence.organisation.hosts:
        return
    yield from _powers(evidence)
    rows = host_estimates(evidence)
    estimated = sorted({row.site for row in rows})
    for name in sorted(evidence.sites):
        if name in estimated:
            yield from _of(
                evidence, f"/site/{name}", {"site": name} | _counts(evidence, name), [r for r in rows if r.site == name]
            )
        else:
            why = {"facility": IN_BUILDING, "node": IN_NODES}.get(boundary(evidence, name), NO_HARDWARE)
            yield Figure(f"estimate.host.energy/site/{name}", None, "J", METHOD, WITHIN, sources=SOURCES,
                         dims={"site": name}, reason=why)  # fmt: skip
    if not rows:
        return
    yield from _of(evidence, "", {}, rows)
    yield from _of(evidence, ".unattributed", {}, [r for r in rows if r.part == NOBODY])
    who = evidence.sums.parts
    named: dict[str, Callable[[HostEstimate], str]] = {
        "team": lambda row: who[row.part].team,
        "project": lambda row: project_of(who[row.part]),
        "model": lambda row: model_of(who[row.part]),
    }
    held = [r for r in rows if r.part != NOBODY]
    for dimension, name_of in named.items():
        names = sorted({name_of(row) for row in held})
        for name in names if names != [""] else ():
            yield from _of(evidence, f"/{dimension}/{name}", {dimension: name}, [r for r in held if name_of(r) == name])
    for component in ("cpu", "ram"):
        yield _energy(f"/component/{component}", {"component": component}, [r for r in rows if r.component == component])


def host_estimates(evidence: PeriodEvidence) -> list[HostEstimate]:
    """Estimates of all nodes that are estimated, by component and part of the fleet."""
    held: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for share in evidence.sums.node_shares:
        if share.part != NOBODY:
            held.setdefault((share.site, share.cluster, share.node), []).append((share.part, share.gpu_ns))
    rows: list[HostEstimate] = []
    for node, hardware in _estimated(evidence):
        shares = held.get((node.site, node.cluster, node.node), [])
        shares.append((NOBODY, max(0, node.gpu_ns - sum(gpu_ns for _, gpu_ns in shares))))
        for component, power in (("cpu", hardware.cpu), ("ram", hardware.ram)):
            rows += _split(node, component, power, shares)
    return rows


def _split(node: MeteredNode, component: str, power: PowerEstimate, shares: list[tuple[int, int]]) -> Iterator[HostEstimate]:
    time = node.longest_gpu_ns * _UJ_PER_W_NS
    weights = [gpu_ns for _, gpu_ns in shares]
    parts = split_integer(round(Fraction(power.w) * time), weights)
    for (part, gpu_ns), uj in zip(shares, parts, strict=True):
        share = Fraction(gpu_ns, sum(weights)) * time
        low, high = min(Fraction(uj), Fraction(power.low_w) * share), max(Fraction(uj), Fraction(power.high_w) * share)
        yield HostEstimate(node.site, component, part, uj, low, high)


def _unmetered(evidence: PeriodEvidence, site: str | None = None) -> list[MeteredNode]:
    """Nodes of sites whose inventory ends at the GPUs, of which nothing but GPUs was metered."""
    nodes = [n for n in evidence.sums.nodes if site in (None, n.site) and n.gpu_ns and not n.host_ns and not n.part_ns]
    sites = {name for name in {n.site for n in nodes} if boundary(evidence, name) == "gpu"}
    return [n for n in nodes if n.site in sites]


def _estimated(evidence: PeriodEvidence) -> Iterator[tuple[MeteredNode, HostHardware]]:
    for node in _unmetered(evidence):
        hardware = host_of(node.cluster, node.node, evidence.organisation.hosts)
        if hardware is not None:
            yield node, hardware


def _counts(evidence: PeriodEvidence, site: str) -> dict[str, str]:
    """How many nodes of a site are estimated, how many have no declared hardware, and how many have some meter."""
    unmetered = _unmetered(evidence, site)
    known = sum(host_of(n.cluster, n.node, evidence.organisation.hosts) is not None for n in unmetered)
    every = sum(n.site == site and n.gpu_ns > 0 for n in evidence.sums.nodes)
    counts = {"nodes_without_hardware": len(unmetered) - known, "nodes_with_meters": every - len(unmetered)}
    return {"nodes": str(known)} | {name: str(count) for name, count in counts.items() if count}


def _powers(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Power per node of each declared hardware, with the nodes and hours that it is used for."""
    nodes = list(_estimated(evidence))
    for hardware in evidence.organisation.hosts:
        own = [node for node, other in nodes if other == hardware]
        hours = sum((Fraction(node.longest_gpu_ns, NS_PER_H) for node in own), Fraction(0))
        dims = {"node": hardware.node, "cluster": hardware.cluster, "nodes": str(len(own)), "node_hours": quotient_text(hours),
                "basis": hardware.basis, "quality": QUALITY, STAND_IN: REPLACED}  # fmt: skip
        for component, power in (("cpu", hardware.cpu), ("ram", hardware.ram)):
            amount = Amount(Fraction(power.w), Fraction(power.low_w), Fraction(power.high_w))
            identity = f"estimate.host.power/{component}/{hardware.cluster}/{hardware.node}"
            yield amount_figure(identity, amount, "W", POWER, WITHIN, sources=("hosts",), dims=dims | {"component": component})


def _of(evidence: PeriodEvidence, suffix: str, dims: dict[str, str], rows: list[HostEstimate]) -> Iterator[Figure]:
    yield _energy(suffix, dims, rows)
    sites = sorted({row.site for row in rows})
    bases = {site: evidence.sites[site].grid.location for site in sites}
    boundaries = {total.basis.boundary for total in bases.values() if total is not None}
    if len({str(total.basis) for total in bases.values() if total is not None}) > 1:
        amount = Amount(None, reason=MIXED)
    else:
        amount = plus([_grams(evidence, site, [r for r in rows if r.site == site]) for site in sites])
    name = "lifecycle" if boundaries == {EmissionBoundary.LIFE_CYCLE} else "location"
    ids = sorted({i for site in sites for i in factor_ids(evidence.sites[site])})
    yield amount_figure(f"estimate.host.co2e.{name}{suffix}", amount, "g", METHOD, WITHIN, sources=SOURCES,
                        factor_ids=tuple(ids), dims=_marked(dims))  # fmt: skip


def _energy(suffix: str, dims: dict[str, str], rows: Iterable[HostEstimate]) -> Figure:
    total = _sum(rows)
    assert total.value is not None
    assert total.low is not None
    assert total.high is not None
    low, high = Fraction(floor(total.low), UJ_PER_J), Fraction(ceil(total.high), UJ_PER_J)
    return Figure(f"estimate.host.energy{suffix}", total.value / UJ_PER_J, "J", METHOD, WITHIN, None, rounded(low, "down"),
                  rounded(high, "up"), SOURCES, dims=_marked(dims))  # fmt: skip


def _sum(rows: Iterable[HostEstimate]) -> Amount:
    """The sum in uJ. One model errs on all nodes alike, so the bounds add."""
    every = list(rows)
    low, high = (sum((getattr(row, end) for row in every), Fraction(0)) for end in ("low_uj", "high_uj"))
    return Amount(Fraction(sum(row.uj for row in every)), low, high)


def _grams(evidence: PeriodEvidence, name: str, rows: list[HostEstimate]) -> Amount:
    site = evidence.sites[name]
    grams = site.grid.location_g
    if grams is None or not site.grid.uj:
        return Amount(None, reason=located_of(evidence, name).reason or "no energy was metered")
    return product_of(_sum(rows), grams / site.grid.uj, factor_error(site, site.grid.location))


def _marked(dims: dict[str, str]) -> dict[str, str]:
    return dims | {"quality": QUALITY, STAND_IN: REPLACED}


SPEC = Measure("energy and CO2e of processors and memory without a meter, estimated by CodeCarbon", figures)
