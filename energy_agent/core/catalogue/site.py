"""Metrics that the site process exports, one process per site: meters, PUE and grid. Pure."""

from typing import TYPE_CHECKING, Final

from energy_agent.core.catalogue.metric import Labels, Row, Scrape, Signal, Source, listed
from energy_agent.core.units import micro, real

if TYPE_CHECKING:
    from fractions import Fraction

    from energy_agent.site.building.pue import Pue
    from energy_agent.site.snapshot import FacilityView, SiteSnapshot


def _meters(scrape: "Scrape[SiteSnapshot]") -> list[Row]:
    return [((scrape.snapshot.site, meter.facts.id, meter.facts.role), meter) for meter in scrape.snapshot.meters]


def _facts(meter: "FacilityView") -> Labels:
    return meter.facts.position or "", meter.facts.parent, meter.facts.zone, meter.facts.source


def _pues(scrape: "Scrape[SiteSnapshot]") -> list[Row]:
    return [((scrape.snapshot.site, *of), pue) for of, pue in scrape.snapshot.pue.items()]


def _coverage(pue: "Pue") -> "Fraction | None":
    return None if pue.stated or pue.amount.value is None else pue.coverage


def _absent(pue: "Pue") -> Labels:
    return () if pue.amount.value is not None else (pue.amount.reason,)


METERS: Final = Source(("site", "meter", "role"), _meters)
PUE: Final = Source(("site", "category", "window"), _pues)

_RECORDED: Final = (
    "From the journal: starts at 0 at the meter's first reading, survives restarts, never falls. Present also while the "
    "meter does not respond."
)
_LIVE: Final = (
    "Present once its window has a PUE; else pue_absent_info has the reason. Window 15m: the last complete "
    "quarter of an hour and the time since."
)
_BOUND: Final = "As pue_ratio, if its bounds are known."

SITE: Final = (
    Signal("facility_meter_info", "A meter of the site, as configured.", "Always 1; the labels have the information.", METERS,
           _facts, ("position", "parent", "zone", "source")),
    Signal("facility_energy_joules_total", "Energy that a facility meter counted.", _RECORDED, METERS, "energy_uj"),
    Signal("facility_power_watts", "Power at a facility meter.",
           "Last reading. Absent while the meter does not respond or its reading is rejected (source_down_info has the "
           "reason).", METERS, "power_mw"),
    Signal("facility_energy_gap_bound_joules_total",
           "Upper bound of the energy that a facility meter did not see; not part of any other sum.", _RECORDED +
           " Absent if nothing bounds that energy.", METERS, "gap_bound_uj"),
    Signal("facility_energy_gain_uncertainty_ratio", "Bound of the gain error of a facility meter.",
           "As configured: its accuracy class.", METERS, "facts.accuracy_ppm", text=micro),
    Signal("pue_ratio",
           "Energy of the site divided by the energy of its IT; category 1 to 3: place of the IT meters; stated: an estimate "
           "of the operator.", _LIVE, PUE, "amount.value"),
    Signal("pue_ratio_lower", "Lower 95 % bound of the PUE.", _BOUND, PUE, "amount.low", text=real),
    Signal("pue_ratio_upper", "Upper 95 % bound of the PUE.", _BOUND, PUE, "amount.high", text=real),
    Signal("pue_coverage_ratio", "Share of the window in which its meters were read; the lowest share of all meters.",
           "As pue_ratio; absent for a stated PUE.", PUE, _coverage),
    Signal("pue_absent_info", "Why the PUE is absent.", "Present only while the PUE is absent.", PUE, _absent, ("reason",)),
    Signal("grid_carbon_intensity_grams_per_kilowatt_hour",
           "Carbon intensity of the grid; zone: as in the site file; basis: life-cycle or direct, and its source.",
           "The newest value of the last three hours; otherwise the yearly factor, as basis states. Absent without zone and "
           "country.", listed("grid", "zone", "basis"), "grams_per_kwh"),
)  # fmt: skip
