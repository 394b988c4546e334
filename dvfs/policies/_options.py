"""A policy's options as the user gave them, checked against their defaults. Pure."""

from collections.abc import Mapping
from typing import Any

from energy_agent.core.errors import UsageError

_MOST = 1e6


def checked(policy: str, options: Mapping[str, object], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with the options in their place; a default's type is that of its option.

    Raises:
        UsageError: an unknown option, or a value of the wrong type; names the policy and the option.
    """
    values = dict(defaults)
    for name, value in options.items():
        if name not in defaults:
            raise UsageError(f"dvfs policy {policy}: unknown option {name!r}; there are: {', '.join(defaults)}")
        default = defaults[name]
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise UsageError(f"dvfs policy {policy}: {name} must be true or false, got {value!r}")
        elif isinstance(default, str):
            if not isinstance(value, str):
                raise UsageError(f"dvfs policy {policy}: {name} must be a word, got {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
            raise UsageError(f"dvfs policy {policy}: {name} must be a number >= 0, got {value!r}")
        values[name] = value
    return values
