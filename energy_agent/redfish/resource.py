"""Values in Redfish resources: links, members of a collection, and numbers that a sensor can show. Pure; not trusted."""

from decimal import Decimal
from typing import Any, Final

from energy_agent.core.meters.reading import MeterError
from energy_agent.redfish.service import is_path

_DIGITS_MAX: Final = 12


def link(body: dict[str, Any], key: str) -> str | None:
    """The address that a resource links to; None where it has none that is a path of this service."""
    value = body.get(key)
    path = value.get("@odata.id") if isinstance(value, dict) else None
    return path if is_path(path) else None


def members(collection: dict[str, Any], most: int) -> list[str]:
    """Addresses of a collection's members.

    Raises:
        MeterError: there are more than `most`.
    """
    listed = collection.get("Members")
    rows = listed if isinstance(listed, list) else []
    if len(rows) > most:
        raise MeterError(f"implausible collection of {len(rows)} members")
    return [str(m["@odata.id"]) for m in rows if isinstance(m, dict) and is_path(m.get("@odata.id"))]


def sensor(body: dict[str, Any], key: str) -> Decimal | None:
    """The Reading of a sensor excerpt."""
    value = body.get(key)
    return number(value.get("Reading")) if isinstance(value, dict) else None


def number(value: object) -> Decimal | None:
    """A finite number of a sane size; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    exact = Decimal(value)
    return exact if exact.is_finite() and exact.adjusted() < _DIGITS_MAX else None  # abs() of 1e999999999 overflows
