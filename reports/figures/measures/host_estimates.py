"""Hosts at sites whose inventory ends at its GPUs: metered energy outside of it, and CodeCarbon's estimate of the rest.

At other sites building meters, invoices that replace them, or meters of all nodes contain the hosts already. What meters of
hosts, processors and memory (RAPL) counted is `energy.outside_inventory`. Processors and memory are estimated apart, each for
the time for which neither they nor their host were metered: the power of the hardware (`HostHardware`) times that time, up to
that of the node's longest metered GPU. So no energy is metered and estimated at the same time; nor is a module whose GPU's
counter is known to contain its processor. Where nobody stated what the counters of a node's GPUs contain, they may contain it:
the lower bound of its estimate is 0. Workloads take the estimate by their share of the node's GPU time, and what is left is
unallocated; groups and that rest sum to the total, to the microjoule. No PUE is applied. Fans, network cards and losses of
power supplies are not estimated.

CO2e is this energy at the site's own mean grid intensity, location-based; CodeCarbon's emission factors are not used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Final

from energy_agent.core.boundary import CounterScope
from energy_agent.core.quantity import ZERO, Quantity, Unit, no_quantity
from energy_agent.core.units import NS_PER_H, NS_PER_S, UJ_PER_J, split_integer
from reports.figures.energy import whole_energy
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import STAND_IN, Figure, amount_figure, quotient_text
from reports.figures.measures._measure import FigureSubject, Measure, model_of, of_group, of_site, project_of
from reports.figures.measures.carbon import boundary, by_basis, counts_life_cycle, factor_error, located_of, location_ids
from reports.figures.uncertainty import times_factor
from reports.inputs.organisation import HostHardware, PowerEstimate, host_of
from reports.ledger.sums import NOBODY, MeteredNode

QUALITY: Final = "6: software estimate"
METHOD: Final = "CodeCarbon's power of processors and memory times the time for which they were not metered (estimate)"
POWER: Final = "CodeCarbon's power of declared hardware (estimate)"
REPLACED: Final = "CodeCarbon's estimate, in place of a meter of the node"
SOURCES: Final = ("ledger", "hosts")
MARKED: Final = {"quality": QUALITY, STAND_IN: REPLACED}
WITHIN: Final = "gpu+cpu"
IN_BUILDING: Final = "the energy of its building contains its hosts"
IN_NODES: Final = "the meters of its nodes contain its hosts"
ALL_METERED: Final = "meters of its hosts, processors and memory cover all of the time"
NO_HARDWARE: Final = "no input describes processors and memory of a node without a meter"
OUTSIDE: Final = "metered by hosts, processors and memory, outside the inventory"
NO_METER: Final = "no host, processor or memory of its nodes has a meter"
CLASSES: Final = ("metered", "partly_estimated", "estimated", "incomplete")
"""Of nodes, by how their processors and memory are known; one that is not known for all of the time is incomplete."""
MIXED: Final = "the sites use different bases for the emissions of the grid"
_UJ_PER_W_NS: Final = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class HostCoverage:
    """How processors and memory of a node are known.

    Args:
        node: with its metered times.
        hardware: as declared; None if it is not.
        unmetered_ns: time by component for which a GPU of the node was metered, and neither it nor its host was.
        scope: what the energy counters of the node's GPUs include.
    """

    node: MeteredNode
    hardware: HostHardware | None
    unmetered_ns: Mapping[str, int]
    scope: CounterScope

    @property
    def kind(self) -> str:
        """One of CLASSES."""
        times = self.unmetered_ns.values()
        if not any(times):
            return "metered"
        if self.hardware is None:
            return "incomplete"
        return "estimated" if all(ns == self.node.longest_gpu_ns for ns in times) else "partly_estimated"


@dataclass(frozen=True, slots=True)
class HostEstimate:
    """Estimated energy in uJ of a part of a node: of one component, for one part of the fleet or for nobody."""

    site: str
    component: str
    part: int
    uj: Quantity


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Metered energy outside the inventory; and estimates by site, component and group, if the inputs describe hosts."""
    yield from _outside(evidence)
    if not evidence.organisation.hosts:
        return
    yield from _powers(evidence)
    rows = host_estimates(evidence)
    estimated = sorted({row.site for row in rows})
    for name in sorted(evidence.sites):
        if name in estimated:
            yield from _of(evidence, of_site(name), [r for r in rows if r.site == name])
        else:
            kinds = {each.kind for each in host_coverage(evidence) if each.node.site == name}
            no_rest = ALL_METERED if kinds == {"metered"} else NO_HARDWARE
            why = {"facility": IN_BUILDING, "node": IN_NODES}.get(boundary(evidence, name), no_rest)
            yield of_site(name).figure("estimate.host.energy", no_quantity(why), "J", METHOD, WITHIN, sources=SOURCES)
    if not rows:
        return
    counted = [each.scope for each in host_coverage(evidence) if each.hardware is not None]
    nodes = FigureSubject("", {f"nodes_{scope}": str(counted.count(scope)) for scope in CounterScope})
    yield from _of(evidence, nodes, rows)
    yield from _of(evidence, FigureSubject(".unattributed"), [r for r in rows if r.part == NOBODY])
    who = evidence.sums.parts
    named: dict[str, Callable[[HostEstimate], str]] = {
        "team": lambda row: who[row.part].team,
        "project": lambda row: project_of(who[row.part]),
        "model": lambda row: model_of(who[row.part]),
    }
    workload_rows = [r for r in rows if r.part != NOBODY]
    for dimension, name_of in named.items():
        names = sorted({name_of(row) for row in workload_rows})
        for name in names if names != [""] else ():
            yield from _of(evidence, of_group(dimension, name), [r for r in workload_rows if name_of(r) == name])
    for component in ("cpu", "ram"):
        yield _energy(of_group("component", component), [r for r in rows if r.component == component])


def host_estimates(evidence: PeriodEvidence) -> list[HostEstimate]:
    """Estimates of all nodes that are estimated, by component and part of the fleet."""
    shares_by_node: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for share in evidence.sums.node_shares:
        if share.part != NOBODY:
            shares_by_node.setdefault((share.site, share.cluster, share.node), []).append((share.part, share.gpu_ns))
    rows: list[HostEstimate] = []
    for each in host_coverage(evidence):
        node, hardware = each.node, each.hardware
        if hardware is None:
            continue
        shares = shares_by_node.get((node.site, node.cluster, node.node), [])
        shares.append((NOBODY, max(0, node.gpu_ns - sum(gpu_ns for _, gpu_ns in shares))))
        for component, power in hardware.powers.items():
            if each.unmetered_ns[component]:
                power = replace(power, low_w=Decimal(0)) if each.scope is CounterScope.UNKNOWN else power
                rows += _split(node.site, component, power, each.unmetered_ns[component], shares)
    return rows


def _split(
    site: str, component: str, power: PowerEstimate, unmetered_ns: int, shares: list[tuple[int, int]]
) -> Iterator[HostEstimate]:
    time = unmetered_ns * _UJ_PER_W_NS
    weights = [gpu_ns for _, gpu_ns in shares]
    parts = split_integer(round(Fraction(power.w) * time), weights)
    for (part, gpu_ns), uj in zip(shares, parts, strict=True):
        share = Fraction(gpu_ns, sum(weights)) * time
        low, high = min(Fraction(uj), Fraction(power.low_w) * share), max(Fraction(uj), Fraction(power.high_w) * share)
        yield HostEstimate(site, component, part, Quantity(Fraction(uj), low, high, unit=Unit.UJ))


def host_coverage(evidence: PeriodEvidence) -> list[HostCoverage]:
    """Nodes with GPUs at sites whose inventory ends at its GPUs."""
    nodes = [node for node in evidence.sums.nodes if node.gpu_ns]
    sites = {name for name in {node.site for node in nodes} if boundary(evidence, name) == "gpu"}
    scopes: dict[tuple[str, str, str], set[str]] = {}
    for device in evidence.sums.metered_devices:
        scopes.setdefault((device.site, device.cluster, device.node), set()).add(device.counter_scope)
    rows = []
    for node in nodes:
        if node.site in sites:
            scope = _scope_of(scopes.get((node.site, node.cluster, node.node), set()))
            rest = {
                component: 0 if scope.of_module else _unmetered_ns(node, metered_ns)
                for component, metered_ns in (("cpu", node.cpu_ns), ("ram", node.ram_ns))
            }
            rows.append(HostCoverage(node, host_of(node.cluster, node.node, evidence.organisation.hosts), rest, scope))
    return rows


def _scope_of(scopes: set[str]) -> CounterScope:
    """What the counters of a node's GPUs include; unknown where they differ."""
    return next((scope for scope in CounterScope if scopes == {scope}), CounterScope.UNKNOWN)


def _unmetered_ns(node: MeteredNode, metered_ns: int) -> int:
    """Time of a component without a meter; up to a second or a thousandth is a difference of first and last readings."""
    rest_ns = max(0, node.longest_gpu_ns - node.host_ns - metered_ns)
    return rest_ns if rest_ns > max(NS_PER_S, node.longest_gpu_ns // 1000) else 0


def outside_inventory(evidence: PeriodEvidence, site: str) -> Quantity:
    """Energy in uJ that meters of hosts, processors and memory of a site counted and its inventory does not contain."""
    if boundary(evidence, site) != "gpu":
        return Quantity(Fraction(0), unit=Unit.UJ)
    rows = [w for w in evidence.sums.wholes if w.site == site and w.device_class in ("host", "part")]
    return whole_energy(rows).quantity if rows else no_quantity(NO_METER)


def _outside(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Metered energy and CO2e outside the inventory of each site, with its nodes by how their hosts are known."""
    coverage = host_coverage(evidence)
    for name in sorted({each.node.site for each in coverage}):
        amount = outside_inventory(evidence, name)
        if amount.value is None and not evidence.organisation.hosts:
            continue  # why its nodes are not known as a whole is a reason of other figures
        kinds = [each.kind for each in coverage if each.node.site == name]
        here = of_site(name)
        counts = {"nodes": str(len(kinds))} | {f"nodes_{kind}": str(kinds.count(kind)) for kind in CLASSES}
        yield here.figure("energy.outside_inventory", amount, "J", OUTSIDE, "mixed", counts)
        ids = location_ids(evidence, [name])
        grams = _grams(evidence, name, amount)
        co2e = here.figure("co2e.location.outside_inventory", grams, "g", OUTSIDE, "mixed", factor_ids=ids)
        yield from by_basis(evidence, [name], co2e)


def _powers(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Power per node of each declared hardware, with the nodes and hours that it is used for."""
    nodes = host_coverage(evidence)
    for hardware in evidence.organisation.hosts:
        for component, power in hardware.powers.items():
            times = [each.unmetered_ns[component] for each in nodes if each.hardware == hardware]
            hours = quotient_text(Fraction(sum(times), NS_PER_H))
            dims = {"node": hardware.node, "cluster": hardware.cluster, "nodes": str(sum(map(bool, times))),
                    "node_hours": hours, "basis": hardware.basis, "quality": QUALITY, STAND_IN: REPLACED,
                    "component": component}  # fmt: skip
            amount = Quantity(Fraction(power.w), Fraction(power.low_w), Fraction(power.high_w))
            identity = f"estimate.host.power/{component}/{hardware.cluster}/{hardware.node}"
            yield amount_figure(identity, amount, "W", POWER, WITHIN, sources=("hosts",), dims=dims)


def _of(evidence: PeriodEvidence, group: FigureSubject, rows: list[HostEstimate]) -> Iterator[Figure]:
    yield _energy(group, rows)
    sites = sorted({row.site for row in rows})
    joined = (evidence.sites[site].grid.location for site in sites)
    if len({str(total.basis) for total in joined if total is not None}) > 1:
        amount = no_quantity(MIXED)
    else:
        amount = sum((_grams(evidence, site, _sum(r for r in rows if r.site == site)) for site in sites), ZERO)
    name = "lifecycle" if counts_life_cycle(evidence, sites) else "location"
    ids = location_ids(evidence, sites)
    quantity = f"estimate.host.co2e.{name}"
    yield group.figure(quantity, amount, "g", METHOD, WITHIN, MARKED, sources=SOURCES, factor_ids=ids)


def _energy(group: FigureSubject, rows: Iterable[HostEstimate]) -> Figure:
    total = _sum(rows)
    whole = replace(total, low=Fraction(floor(total.low or 0)), high=Fraction(ceil(total.high or 0)))
    figure = group.figure("estimate.host.energy", whole, "J", METHOD, WITHIN, MARKED, sources=SOURCES)
    return replace(figure, value=(total / UJ_PER_J).value)


def _sum(rows: Iterable[HostEstimate]) -> Quantity:
    """The sum in uJ. One model errs on all nodes alike, so the bounds add."""
    return sum((row.uj for row in rows), replace(ZERO, unit=Unit.UJ))


def _grams(evidence: PeriodEvidence, name: str, energy: Quantity) -> Quantity:
    """The CO2e of an energy in uJ at a site's mean grid intensity."""
    site = evidence.sites[name]
    grams = site.grid.location_g
    if grams is None or not site.grid.uj:
        return no_quantity(located_of(evidence, name).reason or "no energy was metered")
    return times_factor(energy, grams / site.grid.uj, factor_error(site, site.grid.location))


SPEC = Measure("energy and CO2e of hosts outside the inventory, metered or estimated by CodeCarbon", figures)
