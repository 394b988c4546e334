"""Series over the period for charts: energy by day, mean power and grid intensity by week and hour. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.ledger.rows.kinds import CELL_NS
from reports.figures.evidence import PeriodEvidence, SiteEvidence
from reports.figures.figure import rounded
from reports.period import utc_text

HOURS_MOST = 60 * 24
"""Weeks and hours of at most so many weeks: a longer period's grid would be too fine to read."""


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """Values over points such as days, as charts show them. None: unknown."""

    unit: str
    points: tuple[str, ...]
    values: tuple[Fraction | None, ...]


def courses(evidence: PeriodEvidence) -> dict[str, ChartSeries]:
    """Of each site: energy and metered device time by UTC day; power and intensity by local week and hour."""
    charts: dict[str, ChartSeries] = {}
    for name, site in sorted(evidence.sites.items()):
        days = sorted((d for d in evidence.sums.days if d.site == name), key=lambda d: d.day_ns)
        points = tuple(utc_text(d.day_ns)[:10] for d in days)
        for kind, values in (
            ("active", [d.active_uj for d in days]),
            ("idle", [d.idle_uj for d in days]),
            ("other", [d.other_uj for d in days]),
            ("host", [d.host_uj for d in days]),
        ):
            charts[f"energy.daily.{kind}/site/{name}"] = ChartSeries(
                "J", points, tuple(Fraction(uj, UJ_PER_J) for uj in values)
            )
        metered = tuple(Fraction(d.metered_ns, NS_PER_S) for d in days)
        charts[f"metered.daily/site/{name}"] = ChartSeries("s", points, metered)
        charts |= _by_hour(evidence, name, site)
    return charts


def _by_hour(evidence: PeriodEvidence, name: str, site: SiteEvidence) -> dict[str, ChartSeries]:
    """`week hour`, such as "2026-W27 00": mean power of GPUs and hosts in W, and mean intensity of the grid."""
    zone = ZoneInfo("UTC") if site.inputs is None else site.inputs.zone
    power: dict[str, list[int]] = {}  # -> energy, cells
    grams: dict[str, list[Fraction]] = {}
    worth = site.grid.worth
    for start_ns, (gpu, host) in evidence.sums.cells.get(name, {}).items():
        local = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).astimezone(zone)
        point = f"{local:%G-W%V %H}"
        sums = power.setdefault(point, [0, 0])
        sums[0] += gpu + host
        sums[1] += 1
        if start_ns in worth.grams:
            grams.setdefault(point, []).append(Fraction(worth.grams[start_ns], worth.grams_over))
    if len(power) > HOURS_MOST:
        return {}
    points = tuple(sorted(power))
    # A uJ in a cell of 900 s is 1 / 9e8 W.
    watts = tuple(rounded(Fraction(power[p][0], power[p][1] * CELL_NS // 1000), digits=4) for p in points)
    charts = {f"power.hours/site/{name}": ChartSeries("W", points, watts)}
    if grams and len({g for each in grams.values() for g in each}) > 1:
        mean = tuple(rounded(sum(grams[p], Fraction(0)) / len(grams[p]), digits=4) if p in grams else None for p in points)
        charts[f"intensity.hours/site/{name}"] = ChartSeries("g/kWh", points, mean)
    return charts
