"""Days and times on a command line."""

from datetime import UTC, datetime

from energy_agent.core.errors import UsageError


def day_or_time(text: str, option: str) -> datetime:
    """A UTC day or time; an offset is heeded.

    Raises:
        UsageError: it is neither; the line names the option.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: {text!r} is not a UTC day or time like 2026-01-31 or 2026-01-31T12:15") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
