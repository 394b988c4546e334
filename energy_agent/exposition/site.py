"""Write the snapshot of a site as /metrics. Pure."""

from collections import defaultdict
from fractions import Fraction

from energy_agent.core.units import UJ_PER_J, decimal
from energy_agent.exposition import process
from energy_agent.exposition.gpu import FamilySamples
from energy_agent.exposition.openmetrics import Format, page
from energy_agent.site.building.pue import Pue
from energy_agent.site.snapshot import SiteSnapshot

_MILLI = 1_000
_PPM = 1_000_000


def render(snapshot: SiteSnapshot, fmt: Format) -> bytes:
    """The page: families in the catalogue's order; a family without series is absent."""
    return page(families(snapshot), fmt, snapshot.selection)


def families(snapshot: SiteSnapshot) -> FamilySamples:
    """Samples of each family by the name of its signal."""
    by_family: FamilySamples = defaultdict(list)
    identity = snapshot.identity
    by_family["build_info"].append(((identity.version,), "1"))
    by_family["node_info"].append(((identity.cluster, identity.node, "true" if identity.simulated else "false"), "1"))
    for meter in snapshot.meters:
        facts, labels = meter.facts, (snapshot.site, meter.facts.id, meter.facts.role)
        more = (facts.position or "", facts.parent, facts.zone, facts.source)
        by_family["facility_meter_info"].append(((*labels, *more), "1"))
        for name, uj in (("energy", meter.energy_uj), ("energy_gap_bound", meter.gap_bound_uj)):
            if uj is not None:
                by_family[f"facility_{name}_joules_total"].append((labels, decimal(uj, UJ_PER_J)))
        by_family["facility_energy_gain_uncertainty_ratio"].append((labels, decimal(facts.accuracy_ppm, _PPM)))
        if meter.power_mw is not None:
            by_family["facility_power_watts"].append((labels, decimal(meter.power_mw, _MILLI)))
    for (category, window), pue in snapshot.pue.items():
        _put_pue(pue, (snapshot.site, category, window), by_family)
    for each in snapshot.grid:
        by_family["grid_carbon_intensity_grams_per_kilowatt_hour"].append(((each.zone, each.basis), each.grams_per_kwh))
    process.put(snapshot, by_family)
    return by_family


def _put_pue(pue: Pue, labels: tuple[str, str, str], families: FamilySamples) -> None:
    amount = pue.amount
    if amount.value is None:
        families["pue_absent_info"].append(((*labels, amount.reason), "1"))
        return
    families["pue_ratio"].append((labels, _text(amount.value)))
    if amount.low is not None:
        families["pue_ratio_lower"].append((labels, _text(amount.low)))
    if amount.high is not None:
        families["pue_ratio_upper"].append((labels, _text(amount.high)))
    if not pue.stated:
        families["pue_coverage_ratio"].append((labels, _text(pue.coverage)))


def _text(value: Fraction) -> str:
    return repr(float(value))
