"""A policy's options as the user gave them, checked against their defaults. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from energy_agent.core.errors import UsageError

_MOST = 1e6
Ranges = Mapping[str, tuple[float, float]]


def checked(
    policy: str, options: Mapping[str, object], defaults: Mapping[str, Any], ranges: Ranges = MappingProxyType({})
) -> dict[str, Any]:
    """The defaults with the options in their place; a default's type is that of its option.

    Args:
        policy: its name.
        options: as the user gave them.
        defaults: of all options there are.
        ranges: least and most of a number; one whose ends are whole numbers takes whole ones only.

    Raises:
        UsageError: an unknown option, a value of the wrong type or out of its range; names the policy and the option.
    """
    values = dict(defaults)
    for name, value in options.items():
        if name not in defaults:
            raise UsageError(f"dvfs policy {policy}: unknown option {name!r}; expected one of {', '.join(defaults)}")
        default = defaults[name]
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise UsageError(f"dvfs policy {policy}: {name}: expected true or false, got {value!r}")
        elif isinstance(default, str):
            if not isinstance(value, str):
                raise UsageError(f"dvfs policy {policy}: {name}: expected a word, got {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"dvfs policy {policy}: {name}: expected a number of at least 0, got {value!r}")
        elif name in ranges:
            _within(policy, name, value, *ranges[name])
        elif not 0 <= value < _MOST:
            raise UsageError(f"dvfs policy {policy}: {name}: expected a number of at least 0, got {value!r}")
        values[name] = value
    return values


def _within(policy: str, name: str, value: float, low: float, high: float) -> None:
    whole = isinstance(low, int) and isinstance(high, int)
    if not low <= value <= high or (whole and value != int(value)):
        kind = "an integer" if whole else "a number"
        raise UsageError(f"dvfs policy {policy}: {name}: expected {kind} from {low:g} to {high:g}, got {value!r}")
