"""The former name of `wattlens.hooks.lightning`, for one release."""

import warnings
from typing import Any

from energy_agent.sdk.hooks import lightning


def __getattr__(name: str) -> Any:
    """What `wattlens.hooks.lightning` has of that name, with a DeprecationWarning."""
    value = getattr(lightning, name)
    if not name.startswith("__"):
        warnings.warn(
            f"{__name__} has moved to wattlens.hooks.lightning; the next release removes the old name",
            DeprecationWarning,
            stacklevel=2,
        )
    return value
