"""PUE, WUE, REF, ERF and where the building's energy goes, by site (ISO/IEC 30134-2, -3, -6, -9)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from energy_agent.core.quantity import ZERO, Quantity, no_quantity
from energy_agent.site.building.pue import YEAR_NS, Pue
from reports.figures.energy import by_site, held_energy
from reports.figures.evidence import PeriodEvidence, SiteEvidence
from reports.figures.figure import IMPUTED_J, STAND_IN, Figure, amount_figure, energy_text, metered, quotient_text, rounded
from reports.figures.measures._measure import ALL, FigureSubject, Measure, groups, held_rows, of_site
from reports.ledger.sums import PartEnergy
from reports.site.building import ESTIMATE

SOURCES = ("ledger", "meters")
STATED = "stated"
NO_IT = "no IT energy was metered"
STATED_PUE = "a stated PUE, in place of meters"
OF_INVOICES = "invoiced energy over the energy of the nodes (estimate)"
WATER = "metered or billed"
BY_IT = "the water of the sites, by share of their IT energy"
REST = "the total minus the workloads' share"


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of every site, and the PUE of all sites together where each has its meters."""
    for name, site in sorted(evidence.sites.items()):
        building, here = site.building, of_site(name)
        assumed = site.inputs is not None and site.inputs.bound_assumed
        why = f"no PUE of {name}: {building.total.reason or NO_IT}"
        yield _pue(f"pue/site/{name}", building.pue, here.dims, why, assumed=assumed)
        yield _pue(f"pue.trailing/site/{name}", building.trailing, here.dims, "no meters over twelve months")
        for each in building.pues:
            yield _pue(f"pue.category/{name}/{each.category}", each, here.dims, "")
        category = {"category": str(building.water_category)}
        how = f"category {building.water_category or 'none'}"
        yield here.figure("wue", building.wue, "L/kWh", how, "facility", category | interim(site), sources=SOURCES)
        of_water = category if building.water_category else {}
        yield here.figure("water", building.liters, "L", WATER, "facility", of_water, sources=SOURCES)
        for label, which in (("REF", "produced on the site"), ("ERF", "delivered for reuse")):
            amount = building.shares.get(label, no_quantity("no meter of the building"))
            if label == "REF" and amount.value is not None and site.on_site_objection:
                amount = no_quantity(site.on_site_objection)
            quantity = f"{label.lower()}.site"
            yield here.figure(quantity, amount, "ratio", which, "facility", interim(site), sources=SOURCES)
        for part in (*building.parts, *building.losses):
            how, imputed = metered(building.imputed(part.meters))
            of = FigureSubject(f"/{name}/{part.name}", {"site": name})
            more = imputed | {"part": part.name, "meters": ", ".join(part.meters)}
            yield of.figure("energy.part", part.amount, "J", how, "facility", more, sources=SOURCES)
    yield _of_all(evidence)
    yield from _water(evidence)


def _water(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Water of all sites, of each group of workloads, and of no workload. Groups and the rest sum to the water of the sites."""
    for name in sorted(evidence.sites):
        rest = evidence.sites[name].building.liters.rest(water_of_group(evidence, name, held_rows(evidence, name)))
        yield of_site(name).figure("water.unattributed", rest, "L", REST, "facility", sources=SOURCES)
    total = sum((evidence.sites[name].building.liters for name in sorted(evidence.sites)), ZERO)
    yield ALL.figure("water", total, "L", WATER, "facility", sources=SOURCES)
    for group, rows in groups(evidence):
        shares = [water_of_group(evidence, site, site_rows) for site, site_rows in by_site(rows).items()]
        amount = sum(shares, ZERO if shares else Quantity(Fraction(0)))
        yield group.figure("water.held", amount, "L", BY_IT, "facility", sources=SOURCES)
        if not group.suffix:
            yield ALL.figure("water.unattributed", total.rest(amount), "L", REST, "facility", sources=SOURCES)


def water_of_group(evidence: PeriodEvidence, site: str, rows: list[PartEnergy]) -> Quantity:
    """Liters of some workloads of a site: its water times their share of its IT energy, or of its nodes' energy."""
    building, gap = evidence.sites[site].building, evidence.node_gap(site)
    if building.liters.value is None or gap:
        return no_quantity(building.liters.reason or gap)
    nodes = sum(w.energy_uj for w in evidence.sums.wholes if w.site == site and w.device_class in ("gpu", "host"))
    whole = max(building.it.value or Fraction(0), Fraction(nodes))
    workloads_uj = held_energy(r for r in rows if r.device_class in ("gpu", "host")).energy_uj
    return Quantity(building.liters.value * workloads_uj / whole) if whole else no_quantity("no energy was metered")


def pue_substitute(pue: Pue | None) -> str:
    """Return the substitute that a PUE is, in place of meters; "": it is measured, or absent."""
    if pue is None or not pue.stated or pue.category:
        return ""
    return OF_INVOICES if pue.kind == ESTIMATE else STATED_PUE


def interim(site: SiteEvidence) -> dict[str, str]:
    """How a key figure of ISO/IEC 30134 is marked: they are of twelve months, and over less they are interim figures."""
    return {} if site.window.end_ns - site.window.start_ns >= YEAR_NS else {"interim": "less than twelve months"}


def _pue(identity: str, pue: Pue | None, dims: Mapping[str, str], why: str, *, assumed: bool = False) -> Figure:
    if pue is None:
        return Figure(identity, None, "ratio", "none", "facility", sources=SOURCES, dims=dims, reason=why)
    stated = "stated by the operator (estimate), its bounds assumed" if assumed else "stated by the operator (estimate)"
    stated = OF_INVOICES if pue.kind == ESTIMATE else stated
    method = stated if pue.stated and not pue.category else f"category {pue.category}"
    of = {
        **dims,
        "kind": STATED if pue.stated and not pue.category and pue.kind != ESTIMATE else pue.kind,
        "category": str(pue.category or "none"),
        IMPUTED_J: energy_text(pue.imputed_uj),
    }
    of |= {} if pue.raised_from is None else {"raised_from": quotient_text(pue.raised_from, digits=4)}
    of |= {STAND_IN: pue_substitute(pue)} if pue_substitute(pue) else {}
    coverage = rounded(pue.coverage) if pue.category else None
    return amount_figure(identity, pue.amount, "ratio", method, "facility", coverage=coverage, sources=SOURCES, dims=of)


def _of_all(evidence: PeriodEvidence) -> Figure:
    """All buildings over all their IT: only of buildings that are metered, so that the two sums are of the same places."""
    metered = [s.building for s in evidence.sites.values() if s.building.measured and s.building.it.value]
    if not metered or len(metered) < len(evidence.sites):
        why = "not every site has total and IT meters"
        return ALL.figure("pue", no_quantity(why), "ratio", "none", "facility", sources=SOURCES)
    ratio = sum((b.total for b in metered), ZERO) / sum((b.it for b in metered), ZERO)
    at_least_one = replace(ratio, low=None if ratio.low is None else max(Fraction(1), ratio.low))
    return ALL.figure("pue", at_least_one, "ratio", "total energy over IT energy, both summed", "facility", sources=SOURCES)


SPEC = Measure("PUE, water, renewables and the energy breakdown of the building", figures)
