"""Grid carbon intensity while a job ran, as a site process exports it to Prometheus."""

from fractions import Fraction
from typing import Final

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.history_import.dcgm import exporter_label
from wattlens.prometheus.history import PrometheusHistory, selector
from wattlens.prometheus.token_prices import INTENSITY

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
    series = selector(INTENSITY, {"zone": zone} if zone else {}, further=f'basis=~"{_BASIS}.*"')
    select = f"{series}[{max(60, -(-(end_ns - start_ns) // NS_PER_S))}s]"
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
