"""Metrics that the site process exports, one process per site: meters, PUE and grid."""

from energy_agent.core.catalogue.metric import Signal

_METER = ("site", "meter", "role")
_RECORDED = (
    "From the journal: starts at 0 at the meter's first reading, survives restarts, never falls. Present also while the "
    "meter does not respond."
)
_NOW = "Last reading. Absent while the meter does not respond or its reading is rejected (source_down_info has the reason)."
_PUE = ("site", "category", "window")
_BOUND = "As pue_ratio, if its bounds are known."
_LIVE = (
    "Present once its window has a PUE; else pue_absent_info has the reason. Window 15m: the last complete "
    "quarter of an hour and the time since."
)
_GRID = (
    "The newest value of the last three hours; otherwise the yearly factor, as basis states. Absent without zone and country."
)

SITE = (
    Signal("facility_meter_info", "info", "", "A meter of the site, as configured.",
           ("site", "meter", "role", "position", "parent", "zone", "source"), "Always 1; the labels have the information.",
           "site"),
    Signal("facility_energy_joules_total", "counter", "joules", "Energy that a facility meter counted.", _METER, _RECORDED,
           "site"),
    Signal("facility_power_watts", "gauge", "watts", "Power at a facility meter.", _METER, _NOW, "site"),
    Signal("facility_energy_gap_bound_joules_total", "counter", "joules",
           "Upper bound of the energy that a facility meter did not see; not part of any other sum.", _METER,
           _RECORDED + " Absent if nothing bounds that energy.",
           "site"),
    Signal("facility_energy_gain_uncertainty_ratio", "gauge", "ratio", "Bound of the gain error of a facility meter.", _METER,
           "As configured: its accuracy class.", "site"),
    Signal("pue_ratio", "gauge", "ratio",
           "Energy of the site divided by the energy of its IT; category 1 to 3: place of the IT meters; stated: an "
           "estimate of the operator.", _PUE, _LIVE,
           "site"),
    Signal("pue_ratio_lower", "gauge", "", "Lower 95 % bound of the PUE.", _PUE, _BOUND, "site"),
    Signal("pue_ratio_upper", "gauge", "", "Upper 95 % bound of the PUE.", _PUE, _BOUND, "site"),
    Signal("pue_coverage_ratio", "gauge", "ratio",
           "Share of the window in which its meters were read; the lowest share of all meters.", _PUE,
           "As pue_ratio; absent for a stated PUE.", "site"),
    Signal("pue_absent_info", "info", "", "Why the PUE is absent.", (*_PUE, "reason"), "Present only while the PUE is absent.",
           "site"),
    Signal("grid_carbon_intensity_grams_per_kilowatt_hour", "gauge", "grams_per_kilowatt_hour",
           "Carbon intensity of the grid; zone: as in the site file; basis: life-cycle or direct, and its source.",
           ("zone", "basis"), _GRID, "site"),
)  # fmt: skip
