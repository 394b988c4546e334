"""Days of a site's time zone as instants. Pure."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from energy_agent.core.units import NS_PER_S


def midnight_ns(day: date, zone: ZoneInfo) -> int:
    """The UTC ns at which a day begins in a time zone: at the first instant of it, where midnight itself is skipped."""
    return int(datetime.combine(day, time(), zone).timestamp()) * NS_PER_S


def days_ns(first: date, last: date, zone: ZoneInfo) -> tuple[int, int]:
    """UTC ns at which the first day begins, and at which the last is over."""
    return midnight_ns(first, zone), midnight_ns(last + timedelta(days=1), zone)
