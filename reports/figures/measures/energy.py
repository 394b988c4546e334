"""Energy: of GPUs, hosts, nodes and the building, by site, team, project, model and kind, and in the states of the ledger."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import Method, State
from energy_agent.core.quantity import Errors, Quantity, no_quantity, sum_by_cause, sum_of
from energy_agent.core.units import NS_PER_H, UJ_PER_J, decimal
from reports.figures.energy import BoundedEnergy, idle_energy, total, whole_energy
from reports.figures.evidence import INVOICES_ALONE, PeriodEvidence, SiteEvidence, reach
from reports.figures.figure import (
    ESTIMATED_J,
    LEDGER,
    STAND_IN,
    Figure,
    amount_figure,
    energy_figure,
    metered,
    quotient_text,
)
from reports.figures.measures._measure import Measure, covered, groups, held_rows
from reports.figures.measures.building import STATED_PUE
from reports.figures.measures.carbon import boundary, common
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
        own = [w for w in sums.wholes if w.site == site]
        gap = evidence.node_gap(site)
        node = no_quantity(gap) if gap else evidence.recorded(site, "gpu", "host")
        building = evidence.sites[site].building
        nodes.append(node)
        estimate = node.times(evidence.pue(site), Errors.UNKNOWN)
        buildings.append(building.total if building.measured or (building.meters and estimate.value is None) else estimate)
        dims = {"site": site}
        rests.append(_rests(evidence, site, node, buildings[-1]))
        for name, rest in zip(("node", "facility"), rests[-1], strict=True):
            yield amount_figure(f"energy.{name}.unattributed/site/{site}", rest, "J", REST, name, dims=dims, scale=_J)
        # A PUE of category 1 or 2 is of IT energy before the losses of distribution, and of all IT: what is not in the nodes
        # is a part of its own, so that the nodes' overhead does not stand for it.
        idle_nodes = (
            rests[-1][0].times(evidence.pue(site), Errors.UNKNOWN) if buildings[-1].value is not None else buildings[-1]
        )
        for name, amount, method in (
            ("nodes", Quantity(idle_nodes.value, reason=idle_nodes.reason), IDLE_NODES),
            ("other_it", rests[-1][1].rest(idle_nodes), OTHER_IT),
        ):
            identity = f"energy.facility.unattributed.{name}/site/{site}"
            yield amount_figure(identity, amount, "J", method, "facility", dims=dims, scale=_J)
        widest.append(
            {"facility": buildings[-1], "node": node, "gpu": evidence.recorded(site, "gpu")}[boundary(evidence, site)]
        )
        yield _gpus(evidence, site, [w for w in own if w.device_class == "gpu"])
        yield amount_figure(f"energy.node/site/{site}", node, "J", _node_method(evidence, site), "node", dims=dims, scale=_J)
        how, imputed = (
            metered(building.imputed(building.terms["total"])) if building.measured else (ESTIMATE, {STAND_IN: STATED_PUE})
        )
        if building.invoiced:
            how, imputed = evidence.sites[site].invoices.method, _estimated(evidence.sites[site])
        identity, of = f"energy.facility/site/{site}", dims | imputed
        yield amount_figure(identity, buildings[-1], "J", how, "facility", dims=of, scale=_J)
        how, imputed = (how, imputed) if building.invoiced else metered(building.imputed(building.terms["bought"]))
        of = dims | imputed
        yield amount_figure(f"energy.bought/site/{site}", building.bought, "J", how, "facility", dims=of, scale=_J)
        how, imputed = metered(building.imputed(building.terms["it"]))
        yield amount_figure(f"energy.it/site/{site}", building.it, "J", how, "it", dims=dims | imputed, scale=_J)
    if sums.wholes:
        gpus_uj = whole_energy(w for w in sums.wholes if w.device_class == "gpu")
        yield energy_figure("energy.gpu", gpus_uj, methods(evidence, "gpu"), "gpu")
    else:
        yield Figure("energy.gpu", None, "J", "none", "gpu", sources=LEDGER, reason=INVOICES_ALONE)
    parts = [w for w in sums.wholes if w.device_class == "part"]
    if parts:
        yield energy_figure("energy.processors", whole_energy(parts), methods(evidence, "part"), "gpu+cpu")
    hosts = [w for w in sums.wholes if w.device_class == "host"]
    if hosts:
        yield energy_figure("energy.host", whole_energy(hosts), methods(evidence, "host"), "node")
    yield amount_figure("energy.node", sum_of(nodes), "J", _node_method(evidence), "node", scale=_J)
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
    yield amount_figure("energy.facility", _sum_of_sites(evidence, buildings), "J", how, "facility", dims=imputed, scale=_J)
    within = common(boundary(evidence, site) for site in sums.sites)
    yield amount_figure("energy.inventory", _sum_of_sites(evidence, widest), "J", WIDEST, within, scale=_J)
    for name, of_sites in zip(("node", "facility"), zip(*rests, strict=True), strict=False):
        yield amount_figure(f"energy.{name}.unattributed", sum_of(list(of_sites)), "J", REST, name, scale=_J)
    rest = sum_of(widest).rest(_widest(evidence, held_rows(evidence)))
    yield amount_figure("energy.inventory.unattributed", rest, "J", REST, within, scale=_J)
    metered_ns = sum(w.metered_ns for w in sums.wholes if w.device_class == "gpu")
    held_ns = sum(r.gpu_ns for r in sums.held if r.part and r.device_class == "gpu")
    hours = Quantity(Fraction(metered_ns - held_ns, NS_PER_H))
    yield amount_figure("gpu_hours.unattributed", hours, "GPU h", "metered time minus allocated time", "gpu")


def _sum_of_sites(evidence: PeriodEvidence, amounts: list[Quantity]) -> Quantity:
    """The sum of sites: building meters of different sites err independently, sensors of GPUs and nodes together."""
    measured = [evidence.sites[site].building.measured for site in evidence.sums.sites]
    causes = [f"meters of {site}" if own else "sensors" for site, own in zip(evidence.sums.sites, measured, strict=True)]
    return sum_by_cause(zip(causes, amounts, strict=True))


def _rests(evidence: PeriodEvidence, site: str, node: Quantity, building: Quantity) -> tuple[Quantity, Quantity]:
    """Of a site's nodes and of its building what no workload held: with what they held it is the meter's, exactly."""
    rows = [r for r in evidence.sums.held if r.site == site and r.part and r.device_class != "part"]
    if not rows:
        return node.rest(Quantity(Fraction(0))), building.rest(Quantity(Fraction(0)))
    held = reach(evidence, rows)
    return node.rest(held.node), building.rest(held.facility)


def _estimated(site: SiteEvidence) -> dict[str, str]:
    """How energy of invoices is marked of which the supplier estimated a part, with that part in J."""
    invoiced = site.invoices.counted
    if invoiced is None or not invoiced.estimated_uj:
        return {}
    return {STAND_IN: BY_SUPPLIER, ESTIMATED_J: quotient_text(invoiced.estimated_uj * _J)}


def _gpus(evidence: PeriodEvidence, site: str, rows: list[DeviceClassEnergy]) -> Figure:
    dims, method = {"site": site}, methods(evidence, "gpu", site)
    if not rows:
        return Figure(
            f"energy.gpu/site/{site}", None, "J", method, "gpu", sources=LEDGER, dims=dims, reason="no GPU was metered"
        )
    return energy_figure(f"energy.gpu/site/{site}", whole_energy(rows), method, "gpu", dims=dims)


def _node_method(evidence: PeriodEvidence, site: str | None = None) -> str:
    return f"GPUs {methods(evidence, 'gpu', site)}, hosts {methods(evidence, 'host', site)}"


def _states(evidence: PeriodEvidence) -> Iterator[Figure]:
    """The four buckets of the GPUs, in sum and by site; of what was not attributed also by its reason."""
    rows = [s for s in evidence.sums.states if s.device_class == "gpu"]
    for suffix, dims, own in [
        ("", {}, rows),
        *((f"/site/{s}", {"site": s}, [r for r in rows if r.site == s]) for s in evidence.sums.sites),
    ]:
        for name in ("active", "idle", "unheld", UNATTRIBUTED):
            held = [r for r in own if _bucket(r.state) == name]
            yield energy_figure(f"energy.gpu.{name}{suffix}", _sum(held), _methods_of(held), "gpu", dims=dims | {"state": name})
    for state in State:
        if reason := state.unattributed_reason:
            held = [r for r in rows if r.state == state.value]
            dims = {"reason": reason}
            yield energy_figure(f"energy.gpu.unattributed/reason/{reason}", _sum(held), _methods_of(held), "gpu", dims=dims)
    unheld = [s for s in evidence.sums.states if s.device_class == "host" and _bucket(s.state) == "unheld"]
    if unheld:
        yield energy_figure("energy.host.unheld", _sum(unheld), _methods_of(unheld), "node")


def _bucket(state: str) -> str:
    return UNATTRIBUTED if state.startswith(UNATTRIBUTED) else state


def _sum(rows: list[StateEnergy]) -> BoundedEnergy:
    return total(BoundedEnergy(r.energy_uj, r.gain_uj, r.edge_uj, 0, r.unbounded) for r in rows)


def _methods_of(rows: list[StateEnergy]) -> str:
    return "+".join(m.value for m in Method if m.value in {r.method for r in rows if r.energy_uj}) or "none"


def _by_group(evidence: PeriodEvidence) -> Iterator[Figure]:
    """What workloads held, by whose they are. `energy.held` of all is the sum of each dimension's groups."""
    for suffix, dims, rows in groups(evidence):
        reached = reach(evidence, rows)
        gpus = [r for r in rows if r.device_class == "gpu"]
        yield energy_figure(f"energy.held{suffix}", reached.gpu, methods(evidence, "gpu"), "gpu", dims=dims)
        yield energy_figure(f"energy.held.active{suffix}", reached.busy, methods(evidence, "gpu"), "gpu", dims=dims)
        yield energy_figure(f"energy.held.idle{suffix}", idle_energy(gpus), methods(evidence, "gpu"), "gpu", dims=dims)
        yield amount_figure(f"energy.held.node{suffix}", reached.node, "J", _node_method(evidence), "node", dims=dims, scale=_J)
        yield amount_figure(
            f"energy.held.facility{suffix}", reached.facility, "J", "node energy times PUE", "facility", dims=dims, scale=_J
        )
        within = common(boundary(evidence, site) for site in {r.site for r in rows} or evidence.sites)
        widest = _widest(evidence, rows)
        yield amount_figure(f"energy.held.inventory{suffix}", widest, "J", WIDEST, within, dims=dims, scale=_J)
        hours = Quantity(Fraction(sum(r.gpu_ns for r in gpus), NS_PER_H))
        yield amount_figure(f"gpu_hours{suffix}", hours, "GPU h", "allocated time", "gpu", dims=dims)


def _widest(evidence: PeriodEvidence, rows: list[PartEnergy]) -> Quantity:
    """Energy of some workloads, at each of their sites up to the boundary of the site's own energy."""
    amounts = []
    for site in sorted({r.site for r in rows}):
        amounts.append(reach(evidence, [r for r in rows if r.site == site]).at(boundary(evidence, site)))
    return sum_of(amounts)


def _boards(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Energy and number of devices by model of board."""
    by_sku: dict[str, list[DeviceClassEnergy]] = {}
    for whole in evidence.sums.wholes:
        if whole.device_class == "gpu":
            by_sku.setdefault(whole.sku, []).append(whole)
    for sku, rows in sorted(by_sku.items()):
        devices = {seen.device for seen in evidence.sums.seen if seen.sku == sku}  # one that moved is one
        dims = {"sku": sku or "unknown board", "devices": str(len(devices))}
        yield energy_figure(f"energy.gpu/sku/{dims['sku']}", whole_energy(rows), methods(evidence, "gpu"), "gpu", dims=dims)


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
