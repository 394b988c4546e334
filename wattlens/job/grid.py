"""Grid carbon intensity while a job ran, as a site process exports it to Prometheus."""

import json
from fractions import Fraction
from typing import Final

from energy_agent.core.errors import WattlensError
from energy_agent.ledger.history_import.dcgm import exporter_label
from wattlens.prometheus.history import PrometheusHistory

_INTENSITY: Final = "wattlens_grid_carbon_intensity_grams_per_kilowatt_hour"
_BASIS: Final = "direct"
"""Scope 2 counts direct emissions at generation (GHG Protocol), so life-cycle values are not used."""


def mean_intensity(history: PrometheusHistory, zone: str, start_ns: int, end_ns: int) -> Fraction:
    """Mean over time of the direct intensity of a zone, in g CO2e per kWh.

    Args:
        history: the Prometheus that scrapes the site process.
        zone: of the grid; "": the only one.
        start_ns: begin of the job.
        end_ns: end of the job.

    Raises:
        WattlensError: no direct intensity in that time, or several zones and none chosen.
    """
    matchers = [f'basis=~"{_BASIS}.*"', *([f"zone={json.dumps(zone)}"] if zone else [])]
    select = f"{_INTENSITY}{{{','.join(matchers)}}}[{max(60, -(-(end_ns - start_ns) // 10**9))}s]"
    sums: dict[str, Fraction] = {}
    counts: dict[str, Fraction] = {}
    for totals, function in ((sums, "sum_over_time"), (counts, "count_over_time")):
        for labels, value in history.instant(f"{function}({select})", end_ns):
            of_zone = exporter_label(labels, "zone")
            totals[of_zone] = totals.get(of_zone, Fraction(0)) + Fraction(value)
    if not counts:
        of = f" of zone {zone}" if zone else ""
        raise WattlensError(f"--carbon site: no direct grid carbon intensity{of} while the job ran (wattlens site)")
    if len(counts) > 1:
        raise WattlensError(f"--carbon site: several zones; choose one with --carbon site=ZONE: {', '.join(sorted(counts))}")
    (only,) = counts
    return sums[only] / counts[only]
