"""What making the hardware emitted, as a span over published figures, and SCI per token (ISO/IEC 21031)."""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.quantity import ZERO, Quantity, no_quantity
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.factors.basis import Basis
from energy_agent.factors.embodied import Covers, EmbodiedEmissions, EmbodiedRange, amortised, embodied_range, summed, why_none
from energy_agent.factors.embodied_source import shipped
from reports.figures.energy import by_site
from reports.figures.evidence import PeriodEvidence, reach
from reports.figures.figure import LEDGER, Figure
from reports.figures.measures._measure import ALL, FigureSubject, Measure, groups
from reports.figures.measures.carbon import boundary, group_grams, location_ids, workload_dims
from reports.figures.measures.tokens import generated, processed
from reports.figures.sci import sci_per_token
from reports.inputs.organisation import embodied_of
from reports.ledger.sums import PartEnergy

METHOD = (
    "ISO/IEC 21031: (E x I + M) / R, location-based, including reserved and idle hardware in E; the range is that of M only"
)


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Embodied emissions of the device time of the period by board, in sum, and SCI per token in sum and by model."""
    parts: dict[str, EmbodiedEmissions] = {}
    for sku, gpu_ns in _boards(evidence).items():
        parts[sku], provenance = _of(evidence, sku, gpu_ns)
        yield _figure("embodied", parts[sku], FigureSubject(f"/sku/{sku}", {"sku": sku} | provenance))
    whole = summed(parts.values()) if parts else EmbodiedEmissions(None, None, "no devices in the period")
    yield _figure("embodied", whole, ALL)
    yield from _sci(evidence)


def _boards(evidence: PeriodEvidence) -> dict[str, int]:
    """Device time that was provisioned, by board: all of the period in which it was seen, held or not."""
    times: dict[str, int] = {}
    for whole in evidence.sums.wholes:
        if whole.device_class == "gpu":
            times[whole.sku] = times.get(whole.sku, 0) + whole.metered_ns + whole.gap_ns
    return dict(sorted(times.items()))


def _of(evidence: PeriodEvidence, sku: str, gpu_ns: int) -> tuple[EmbodiedEmissions, dict[str, str]]:
    """The share of the period, and where the footprint stands: what it covers, its boundary, its sources and their table."""
    embodied_input = embodied_of(sku, evidence.organisation.embodied)
    if embodied_input is not None:
        life = Fraction(embodied_input.life_years)
        span = EmbodiedRange(
            sku, Covers.GPU, Fraction(embodied_input.low_kg), Fraction(embodied_input.high_kg), (), (life, life)
        )
        return amortised(span, gpu_ns), {
            "covers": "as told",
            "boundary": embodied_input.boundary,
            "sources": embodied_input.source,
        }
    footprint = embodied_range(sku, Covers.WITH_SERVER) or embodied_range(sku)
    if footprint is None:
        return EmbodiedEmissions(None, None, why_none(sku)), {}
    table = shipped()[0]
    provenance = {
        "covers": footprint.covers.value,
        "boundary": "; ".join(dict.fromkeys(s.boundary for s in footprint.sources)),
        "sources": "; ".join(dict.fromkeys(f"{s.publisher}, {s.source}" for s in footprint.sources)),
        "table": f"{table.file} {table.csv_sha256}",
    }
    return amortised(footprint, gpu_ns), provenance


def _figure(quantity: str, emissions: EmbodiedEmissions, of: FigureSubject) -> Figure:
    """A span has no single value: the figure has bounds alone."""
    shortest, longest = emissions.life_years or (None, None)
    life = "" if shortest is None else f"{shortest} years" if shortest == longest else f"{shortest} to {longest} years"
    more = {"life": life, "life_declared": "yes" if emissions.declared else "no"} if life else {}
    method, amount = "published footprints, by the share of their life (ISO/IEC 21031)", no_quantity(emissions.reason)
    if emissions.low_g is not None and emissions.high_g is not None:
        why = "a range of published figures, never one number"
        amount = Quantity(None, emissions.low_g, emissions.high_g, why)
    return of.figure(quantity, amount, "g", method, "embodied", more)


def _sci(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of what generated tokens, in sum and by model: its energy, the boards that it held, its tokens."""
    who = evidence.sums.parts
    serving = {t.part for t in evidence.sums.tokens if t.phase == "generation" and t.tokens}
    for group, rows in groups(evidence):
        mine = [r for r in rows if r.part in serving]
        if not mine or (group.suffix and "model" not in group.dims) or any(who[r.part].mixed for r in mine if group.suffix):
            continue
        embodied = _sum_embodied(evidence, {(r.site, r.part) for r in mine})
        parts = {r.part for r in mine}
        if not group.suffix:
            yield from _terms(evidence, mine, embodied, generated(evidence, parts))
        for quantity, tokens in (("token", generated(evidence, parts)), ("processed_token", processed(evidence, parts))):
            yield _sci_of(evidence, f"sci_per_{quantity}", group, mine, embodied, tokens)


def _terms(evidence: PeriodEvidence, rows: list[PartEnergy], embodied: EmbodiedEmissions, tokens: int) -> Iterator[Figure]:
    """The terms E, M and R of the SCI per generated token: of what generated tokens, at the facility boundary."""
    dims, how = workload_dims(evidence, {r.site for r in rows}), "energy of what generated tokens"
    yield ALL.figure("sci.energy", reach(evidence, rows).facility, "J", how, "facility", dims)
    yield _figure("sci.embodied", embodied, ALL)
    count, sources = Fraction(tokens), (*LEDGER, "tokens")
    yield Figure("sci.tokens", count, "tokens", "generated tokens", "facility", sources=sources)


def _sum_embodied(evidence: PeriodEvidence, parts: set[tuple[str, int]]) -> EmbodiedEmissions:
    """Embodied emissions of the boards that these parts of sites held, for as long as they did."""
    times: dict[str, int] = {}
    for site, part, sku, gpu_ns in evidence.sums.boards:
        if (site, part) in parts:
            times[sku] = times.get(sku, 0) + gpu_ns
    emissions = [_of(evidence, sku, gpu_ns)[0] for sku, gpu_ns in sorted(times.items())]
    return summed(emissions) if emissions else EmbodiedEmissions(None, None, "no device time was allocated")


def _sci_of(
    evidence: PeriodEvidence,
    quantity: str,
    group: FigureSubject,
    rows: list[PartEnergy],
    embodied: EmbodiedEmissions,
    tokens: int | None,
) -> Figure:
    """SCI of some workloads, per so many tokens; None: not counted."""
    parts = by_site(rows)
    sites = list(parts)
    reached = reach(evidence, rows)
    at, energy = next((name, amount) for name in ("facility", "node", "gpu") if (amount := reached.at(name)).value is not None)
    grams = sum((group_grams(evidence, site, site_rows) for site, site_rows in parts.items()), ZERO)
    bases = {str(b): b for b in (_basis(evidence, site) for site in sites) if b is not None}
    within = {boundary(evidence, site) for site in sites}
    intensity = None
    if len(bases) == 1 and within == {at} and grams.value is not None and energy.value:
        intensity = grams.value * UJ_PER_KWH / energy.value
    # The error of I is not stated, and bounds of E alone would pass for those of the SCI: the span is of M, which is one.
    basis = next(iter(bases.values())) if len(bases) == 1 else None
    sci = sci_per_token(energy.value, at, intensity, basis, embodied, tokens or None)
    of = ({"note": sci.note} if sci.note else {}) | (workload_dims(evidence, sites) if at == "facility" else {})
    ids = location_ids(evidence, sites)
    if sci.per_token is None:
        span = no_quantity("the sites' boundaries differ" if within != {at} and grams.value is not None else sci.reason)
    else:
        span = Quantity(None, *sci.per_token, reason="a range, because embodied emissions are a range")
    return group.figure(quantity, span, "g/token", METHOD, at, of, sources=(*LEDGER, "tokens"), factor_ids=ids)


def _basis(evidence: PeriodEvidence, site: str) -> Basis | None:
    joined = evidence.sites[site].grid.location
    return None if joined is None else joined.basis


SPEC = Measure("embodied emissions, and SCI per token", figures)
