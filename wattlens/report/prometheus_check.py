"""The GPUs' energy as a Prometheus has it, over a report's period: the cross-check of the ledger, never a source of it."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_H, NS_PER_S
from reports.figures.evidence import PrometheusEnergy
from reports.ledger.sums import SiteWindow
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.history import PrometheusHistory

SLICE_NS: Final = 6 * NS_PER_H
QUERY: Final = "sum(max by (uuid, method) (increase(wattlens_gpu_energy_joules_total[{seconds}s])))"
"""Selects one of several scrapes of the same agent. `increase` extrapolates to a slice's edges: for checks, not for records."""
_SERIES: Final = "count(count by (uuid) (increase(wattlens_gpu_energy_joules_total[{seconds}s])))"


def check(
    access: PrometheusAccess, windows: Mapping[str, SiteWindow], report_failure: Callable[[str], None]
) -> PrometheusEnergy:
    """Return the increase of the energy counters; or the reason if it does not respond, or cannot separate sites' periods.

    Args:
        access: connection to the server.
        windows: periods by site.
        report_failure: called with the reason why Prometheus does not respond; the report contains no address of a machine.

    Raises:
        UsageError: a secret's file cannot be read.
    """
    try:
        return _sum_energy(access, windows)
    except UsageError:
        raise
    except WattlensError as error:
        report_failure(f"{error}; the report is created without the comparison")
        return PrometheusEnergy("0", 0, QUERY, "the response is not from a Prometheus server")


def _sum_energy(access: PrometheusAccess, windows: Mapping[str, SiteWindow]) -> PrometheusEnergy:
    periods = {w.span for w in windows.values()}
    if len(periods) != 1:
        return PrometheusEnergy("0", 0, QUERY, "the sites' periods differ, and no label distinguishes the sites")
    start_ns, end_ns = periods.pop()
    history = PrometheusHistory(access)
    joules, series, at_ns = Decimal(0), 0, start_ns
    while at_ns < end_ns:
        until_ns = min(end_ns, at_ns + SLICE_NS)
        seconds = max(1, (until_ns - at_ns) // NS_PER_S)
        joules += sum((value for _, value in history.instant(QUERY.format(seconds=seconds), until_ns)), Decimal(0))
        counts = history.instant(_SERIES.format(seconds=seconds), until_ns)
        series = max(series, *(int(value) for _, value in counts)) if counts else series
        at_ns = until_ns
    if not series:
        return PrometheusEnergy("0", 0, QUERY, "the Prometheus has no series of wattlens_gpu_energy_joules_total in the period")
    return PrometheusEnergy(format(joules, "f"), series, QUERY)
