"""A policy's options as the user gave them, checked against their defaults. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from energy_agent.core.errors import UsageError

_ANY = (0.0, 1e6)
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

    >>> checked("cool", {"limit_w": 300.0}, {"limit_w": 400.0, "stale_s": 5.0}, {"limit_w": (50.0, 1000.0)})
    {'limit_w': 300.0, 'stale_s': 5.0}
    """
    values = dict(defaults)
    for name, value in options.items():
        if name not in defaults:
            raise UsageError(f"dvfs policy {policy}: unknown option {name!r}; expected one of {', '.join(defaults)}")
        if isinstance(defaults[name], str):
            expected, is_valid = "a word", isinstance(value, str)
        else:
            low, high = ranges.get(name, _ANY)
            is_whole = isinstance(low, int) and isinstance(high, int)
            expected = f"{'an integer' if is_whole else 'a number'} from {low:g} to {high:.10g}"
            is_valid = isinstance(value, int | float) and low <= value <= high and (not is_whole or value == int(value))
            is_valid = is_valid and not isinstance(value, bool)
        if not is_valid:
            raise UsageError(f"dvfs policy {policy}: {name}: expected {expected}, got {value!r}")
        values[name] = value
    return values
