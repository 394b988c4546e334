"""Energy: of GPUs, hosts, nodes and the building, by site, team, project, model and kind, and in the states of the ledger."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import Method, State
from energy_agent.core.quantity import ZERO, Quantity, no_quantity, sum_by_cause
from energy_agent.core.units import NS_PER_H, UJ_PER_J, decimal
from reports.figures.energy import BoundedEnergy, by_site, idle_energy, total, whole_energy
from reports.figures.evidence import INVOICES_ALONE, PeriodEvidence, SiteEvidence, reach
from reports.figures.figure import (
    ESTIMATED_J,
    LEDGER,
    STAND_IN,
    Figure,
    metered,
    quotient_text,
)
from reports.figures.measures._measure import ALL, FigureSubject, Measure, covered, groups, held_rows, of_group, of_site
from reports.figures.measures.building import STATED_PUE
from reports.figures.measures.carbon import boundary, boundary_of
from reports.ledger.sums import DeviceClassEnergy, PartEnergy, StateEnergy
from reports.site.invoices import BY_SUPPLIER, INVOICED, INVOICED_OR_READ

_J = Fraction(1, UJ_PER_J)
UNATTRIBUTED = "unattributed"
ESTIMATE = "node energy times a stated PUE (estimate)"
REST = "the total minus the workloads' share"
IDLE_NODES = "unallocated node energy times PUE"
OTHER_IT = "building energy minus node energy times PUE"
WIDEST = "each site at the widest boundary that is known"


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """All of it; energy in J."""
    yield from covered(evidence, chain(_whole(evidence), _states(evidence), _by_group(evidence), _boards(evidence)))
    yield from _gaps(evidence)


def methods(evidence: PeriodEvidence, device_class: str, site: str | None = None) -> str:
    """How energy of a class was measured: the methods that hold some, joined by +."""
    rows = [s for s in evidence.sums.states if s.device_class == device_class and s.energy_uj and site in (None, s.site)]
    return "+".join(m.value for m in Method if m.value in {r.method for r in rows}) or "none"


def _whole(evidence: PeriodEvidence) -> Iterator[Figure]:
    sums = evidence.sums
    nodes, buildings, rests, widest = [], [], [], []
    for site in sums.sites:
        here, building, invoices = of_site(site), evidence.sites[site].building, evidence.sites[site].invoices
        gap, pue, gpu = evidence.node_gap(site), evidence.pue(site), evidence.recorded(site, "gpu")
        node = no_quantity(gap) if gap else evidence.recorded(site, "gpu", "host")
        estimate = node * pue
        whole = building.total if building.measured or (building.meters and estimate.value is None) else estimate
        nodes.append(node)
        buildings.append(whole)
        rests.append(_rests(evidence, site, node, whole))
        for name, rest in zip(("node", "facility"), rests[-1], strict=True):
            yield here.figure(f"energy.{name}.unattributed", rest, "J", REST, name)
        # A PUE of category 1 or 2 is of IT energy before the losses of distribution, and of all IT: what is not in the nodes
        # is a part of its own, so that the nodes' overhead does not stand for it.
        idle_nodes = rests[-1][0] * pue if whole.value is not None else whole
        yield here.figure("energy.facility.unattributed.nodes", idle_nodes.rest(ZERO), "J", IDLE_NODES, "facility")
        yield here.figure("energy.facility.unattributed.other_it", rests[-1][1].rest(idle_nodes), "J", OTHER_IT, "facility")
        widest.append({"facility": whole, "node": node, "gpu": gpu}[boundary(evidence, site)])
        yield _gpus(evidence, site)
        yield here.figure("energy.node", node, "J", _node_method(evidence, site), "node")
        total, bought, it = (metered(building.imputed(building.terms[term])) for term in ("total", "bought", "it"))
        total = total if building.measured else (ESTIMATE, {STAND_IN: STATED_PUE})
        if building.invoiced:
            total = bought = invoices.method, _estimated(evidence.sites[site])
        for name, amount, (how, imputed), within in (
            ("facility", whole, total, "facility"),
            ("bought", building.bought, bought, "facility"),
            ("it", building.it, it, "it"),
        ):
            yield here.figure(f"energy.{name}", amount, "J", how, within, imputed)
    if sums.wholes:
        yield ALL.energy("energy.gpu", _of_class(evidence, "gpu"), methods(evidence, "gpu"))
    else:
        yield ALL.figure("energy.gpu", no_quantity(INVOICES_ALONE), "J", "none", "gpu")
    for name, device_class, within in (("processors", "part", "gpu+cpu"), ("host", "host", "node")):
        if any(w.device_class == device_class for w in sums.wholes):
            yield ALL.energy(f"energy.{name}", _of_class(evidence, device_class), methods(evidence, device_class), within)
    yield ALL.figure("energy.node", sum(nodes, ZERO), "J", _node_method(evidence), "node")
    every = [s.building for s in evidence.sites.values()]
    filled = Counter[str]()
    for each in every:
        filled.update(each.imputed(each.terms["total"]))
    how, imputed = metered(filled)
    if any(b.invoiced for b in every):
        ways = {site.invoices.method for site in evidence.sites.values() if site.building.invoiced}
        by_invoice = INVOICED_OR_READ if INVOICED_OR_READ in ways else INVOICED
        how = f"{how}, or {by_invoice}" if not all(b.invoiced for b in every) else by_invoice
        if any(site.building.invoiced and _estimated(site) for site in evidence.sites.values()):
            imputed = imputed | {STAND_IN: BY_SUPPLIER}
    if not all(b.measured for b in every):
        how, imputed = f"{how}, or node energy times a stated PUE", imputed | {STAND_IN: STATED_PUE}
    yield ALL.figure("energy.facility", _sum_of_sites(evidence, buildings), "J", how, "facility", imputed)
    within = boundary_of(evidence, sums.sites)
    yield ALL.figure("energy.inventory", _sum_of_sites(evidence, widest), "J", WIDEST, within)
    for name, of_sites in zip(("node", "facility"), zip(*rests, strict=True), strict=False):
        yield ALL.figure(f"energy.{name}.unattributed", sum(of_sites, ZERO), "J", REST, name)
    rest = sum(widest, ZERO).rest(_widest(evidence, held_rows(evidence)))
    yield ALL.figure("energy.inventory.unattributed", rest, "J", REST, within)
    metered_ns = sum(w.metered_ns for w in sums.wholes if w.device_class == "gpu")
    held_ns = sum(r.gpu_ns for r in sums.part_rows if r.part and r.device_class == "gpu")
    hours = Quantity(Fraction(metered_ns - held_ns, NS_PER_H))
    yield ALL.figure("gpu_hours.unattributed", hours, "GPU h", "metered time minus allocated time", "gpu")


def _of_class(evidence: PeriodEvidence, device_class: str) -> BoundedEnergy:
    return whole_energy(w for w in evidence.sums.wholes if w.device_class == device_class)


def _sum_of_sites(evidence: PeriodEvidence, amounts: list[Quantity]) -> Quantity:
    """The sum of sites: building meters of different sites err independently, sensors of GPUs and nodes together."""
    measured = [evidence.sites[site].building.measured for site in evidence.sums.sites]
    causes = [
        f"meters of {site}" if is_metered else "sensors" for site, is_metered in zip(evidence.sums.sites, measured, strict=True)
    ]
    return sum_by_cause(zip(causes, amounts, strict=True))


def _rests(evidence: PeriodEvidence, site: str, node: Quantity, building: Quantity) -> tuple[Quantity, Quantity]:
    """Of a site's nodes and of its building what no workload held: with what they held it is the meter's, exactly."""
    rows = held_rows(evidence, site)
    workload_energy = reach(evidence, rows)
    return node.rest(workload_energy.node if rows else ZERO), building.rest(workload_energy.facility if rows else ZERO)


def _estimated(site: SiteEvidence) -> dict[str, str]:
    """How energy of invoices is marked of which the supplier estimated a part, with that part in J."""
    invoiced = site.invoices.counted
    if invoiced is None or not invoiced.estimated_uj:
        return {}
    return {STAND_IN: BY_SUPPLIER, ESTIMATED_J: quotient_text(invoiced.estimated_uj * _J)}


def _gpus(evidence: PeriodEvidence, site: str) -> Figure:
    rows = [w for w in evidence.sums.wholes if w.site == site and w.device_class == "gpu"]
    here, method = of_site(site), methods(evidence, "gpu", site)
    if not rows:
        return here.figure("energy.gpu", no_quantity("no GPU was metered"), "J", method, "gpu")
    return here.energy("energy.gpu", whole_energy(rows), method)


def _node_method(evidence: PeriodEvidence, site: str | None = None) -> str:
    return f"GPUs {methods(evidence, 'gpu', site)}, hosts {methods(evidence, 'host', site)}"


def _states(evidence: PeriodEvidence) -> Iterator[Figure]:
    """The four buckets of the GPUs, in sum and by site; of what was not attributed also by its reason."""
    rows = [s for s in evidence.sums.states if s.device_class == "gpu"]
    for name in ("", *evidence.sums.sites):
        here = of_site(name) if name else ALL
        for bucket in ("active", "idle", "unheld", UNATTRIBUTED):
            matches = [r for r in rows if _bucket(r.state) == bucket and name in ("", r.site)]
            of = replace(here, dims={**here.dims, "state": bucket})
            yield of.energy(f"energy.gpu.{bucket}", _sum(matches), _methods_of(matches))
    for state in State:
        if reason := state.unattributed_reason:
            matches = [r for r in rows if r.state == state.value]
            yield of_group("reason", reason).energy("energy.gpu.unattributed", _sum(matches), _methods_of(matches))
    unheld = [s for s in evidence.sums.states if s.device_class == "host" and _bucket(s.state) == "unheld"]
    if unheld:
        yield ALL.energy("energy.host.unheld", _sum(unheld), _methods_of(unheld), "node")


def _bucket(state: str) -> str:
    return UNATTRIBUTED if state.startswith(UNATTRIBUTED) else state


def _sum(rows: list[StateEnergy]) -> BoundedEnergy:
    return total(BoundedEnergy(r.energy_uj, r.gain_uj, r.edge_uj, 0, r.unbounded) for r in rows)


def _methods_of(rows: list[StateEnergy]) -> str:
    return "+".join(m.value for m in Method if m.value in {r.method for r in rows if r.energy_uj}) or "none"


def _by_group(evidence: PeriodEvidence) -> Iterator[Figure]:
    """What workloads held, by whose they are. `energy.held` of all is the sum of each dimension's groups."""
    how = methods(evidence, "gpu")
    for group, rows in groups(evidence):
        reached = reach(evidence, rows)
        gpus = [r for r in rows if r.device_class == "gpu"]
        yield group.energy("energy.held", reached.gpu, how)
        yield group.energy("energy.held.active", reached.busy, how)
        yield group.energy("energy.held.idle", idle_energy(gpus), how)
        yield group.figure("energy.held.node", reached.node, "J", _node_method(evidence), "node")
        yield group.figure("energy.held.facility", reached.facility, "J", "node energy times PUE", "facility")
        within = boundary_of(evidence, {r.site for r in rows} or evidence.sites)
        yield group.figure("energy.held.inventory", _widest(evidence, rows), "J", WIDEST, within)
        hours = Quantity(Fraction(sum(r.gpu_ns for r in gpus), NS_PER_H))
        yield group.figure("gpu_hours", hours, "GPU h", "allocated time", "gpu")


def _widest(evidence: PeriodEvidence, rows: list[PartEnergy]) -> Quantity:
    """Energy of some workloads, at each of their sites up to the boundary of the site's own energy."""
    return sum((reach(evidence, site_rows).at(boundary(evidence, site)) for site, site_rows in by_site(rows).items()), ZERO)


def _boards(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Energy and number of devices by model of board."""
    by_sku: dict[str, list[DeviceClassEnergy]] = {}
    for whole in evidence.sums.wholes:
        if whole.device_class == "gpu":
            by_sku.setdefault(whole.sku, []).append(whole)
    for sku, rows in sorted(by_sku.items()):
        devices = {row.device for row in evidence.sums.metered_devices if row.sku == sku}  # one that moved is one
        name = sku or "unknown board"
        board = FigureSubject(f"/sku/{name}", {"sku": name, "devices": str(len(devices))})
        yield board.energy("energy.gpu", whole_energy(rows), methods(evidence, "gpu"))


def _gaps(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Unseen energy: its value is absent by definition; what is known are its bounds, 0 and what can have been drawn."""
    for gap in evidence.sums.unseen:
        unbounded = gap.reason.startswith(UNBOUNDED)
        dims = {"site": gap.site, "class": gap.device_class, "reason": gap.reason, "devices": str(gap.devices),
                "seconds": decimal(gap.gap_ns, 10**9)}  # fmt: skip
        low, high = (None, None) if unbounded else (Fraction(0), Fraction(gap.bound_uj, UJ_PER_J))
        within = {"gpu": "gpu", "host": "node"}.get(gap.device_class, "gpu+cpu")
        yield Figure(
            f"gap/{gap.site}/{gap.device_class}/{gap.reason}", None, "J", "bound", within, None, low, high, LEDGER, dims=dims,
            reason="no sensor measured this energy; no sum includes it",
        )  # fmt: skip


SPEC = Measure("energy by boundary, workload and state", figures)
