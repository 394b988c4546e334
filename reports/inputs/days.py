"""Days of a site's time zone as instants. Pure."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from energy_agent.core.units import NS_PER_S


def midnight_ns(day: date, zone: ZoneInfo) -> int:
    """The UTC ns at which a day begins in a time zone: at the first instant of it, where midnight itself is skipped."""
    return int(datetime.combine(day, time(), zone).timestamp()) * NS_PER_S
