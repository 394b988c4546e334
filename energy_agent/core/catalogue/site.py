"""Metrics that the site process exports, one process per site: meters, PUE and grid."""

from energy_agent.core.catalogue.metric import Signal

_METER = ("site", "meter", "role")
_RECORDED = (
    "From the journal: starts at 0 at the meter's first reading, survives restarts, never falls. Stays while it is silent."
)
_NOW = "Last reading. Absent while the meter does not answer or is not believed (source_down_info has the reason)."
_PUE = ("site", "category", "window")
_BOUND = "As pue_ratio, where something bounds it."
_LIVE = "There once its window has one; else pue_absent_info says why. 15m: since the last but one quarter of an hour."
_GRID = "The newest value of the last three hours; else the yearly factor, which says so. Absent without zone and country."

SITE = (
    Signal("facility_meter_info", "info", "", "A meter of the site, as it is declared.",
           ("site", "meter", "role", "position", "parent", "zone", "source"), "Always 1; facts are labels.", "site"),
    Signal("facility_energy_joules_total", "counter", "joules", "Energy that a facility meter counted.", _METER, _RECORDED,
           "site"),
    Signal("facility_power_watts", "gauge", "watts", "Power at a facility meter.", _METER, _NOW, "site"),
    Signal("facility_energy_gap_bound_joules_total", "counter", "joules",
           "The most that can have flowed through a facility meter unseen; in no other sum.", _METER, _RECORDED, "site"),
    Signal("facility_energy_gain_uncertainty_ratio", "gauge", "ratio", "Bound of the gain error of a facility meter.", _METER,
           "As it is declared: its accuracy class.", "site"),
    Signal("pue_ratio", "gauge", "ratio",
           "Energy of the site over that of its IT; category 1 to 3 by where IT is metered, stated: an estimate.", _PUE, _LIVE,
           "site"),
    Signal("pue_ratio_lower", "gauge", "", "The PUE, at least (95 %).", _PUE, _BOUND, "site"),
    Signal("pue_ratio_upper", "gauge", "", "The PUE, at most (95 %).", _PUE, _BOUND, "site"),
    Signal("pue_coverage_ratio", "gauge", "ratio", "Share of the window in which the least covered meter of it was read.", _PUE,
           "As pue_ratio; stated ones have none.", "site"),
    Signal("pue_absent_info", "info", "", "Why there is no PUE.", (*_PUE, "reason"), "There only while it is absent.", "site"),
    Signal("grid_carbon_intensity_grams_per_kilowatt_hour", "gauge", "grams_per_kilowatt_hour",
           "Carbon intensity of the grid; basis is life-cycle or direct, and how it was learnt.",
           ("zone", "basis"), _GRID, "site"),
)  # fmt: skip
