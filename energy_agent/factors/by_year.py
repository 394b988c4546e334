"""Annual factors where no source has hourly values: for each year of a period the factor of that year, or the nearest one."""

from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.factors.basis import Basis
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import Piece
from energy_agent.factors.sets import FactorMatch


class FactorChooser(Protocol):
    """What chooses a factor, such as `sets.Catalogue`."""

    def factor(self, zone: str, year: int, basis: Basis, country: str = "") -> FactorMatch:
        """The factor of a zone in a year; raises UsageError where no factor exists."""
        ...


def sources(
    choice: FactorChooser, zone: str, country: str, basis: Basis, start_ns: int, end_ns: int, time_zone: ZoneInfo
) -> tuple[tuple[IntensitySource, ...], tuple[FactorMatch, ...], str]:
    """Return the annual factors of a zone in a period.

    Args:
        choice: chooses the factors.
        zone: the grid's; "": not set.
        country: used where the zone has no factor; "": not set.
        basis: of the total.
        start_ns: UTC ns at which the period begins.
        end_ns: UTC ns at which it is over.
        time_zone: the site's, in which years begin at midnight.

    Returns:
        The sources for `join`, the factors that they use, and the reason why years have no factor; "" if every year has one.
    """
    by_factor: dict[str, tuple[FactorMatch, list[Piece], list[str]]] = {}
    problems: list[str] = []
    first, last = (datetime.fromtimestamp(t // NS_PER_S, UTC).astimezone(time_zone).year for t in (start_ns, end_ns - 1))
    for year in range(first, last + 1):
        from_ns, until_ns = max(start_ns, _new_year_ns(year, time_zone)), min(end_ns, _new_year_ns(year + 1, time_zone))
        try:
            chosen = choice.factor(zone, year, basis, country)
        except UsageError as error:
            problems.append(str(error))
            continue
        _, pieces, reasons = by_factor.setdefault(chosen.factor.id, (chosen, [], []))
        pieces.append(Piece(from_ns, until_ns, chosen.factor.value, estimated=False))
        reasons += [reason for reason in chosen.reasons if reason not in reasons]
    factor_sources = tuple(
        IntensitySource(identity, basis, chosen.factor.quality, tuple(pieces), tuple(reasons))
        for identity, (chosen, pieces, reasons) in by_factor.items()
    )
    return factor_sources, tuple(chosen for chosen, _, _ in by_factor.values()), "; ".join(dict.fromkeys(problems))


def _new_year_ns(year: int, time_zone: ZoneInfo) -> int:
    return int(datetime(year, 1, 1, tzinfo=time_zone).timestamp()) * NS_PER_S
