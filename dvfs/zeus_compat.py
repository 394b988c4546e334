"""The former name of `wattlens.zeus`, for one release."""

import warnings
from typing import Any

from energy_agent.sdk.zeus import optimizer


def __getattr__(name: str) -> Any:
    """What `wattlens.zeus` has of that name, with a DeprecationWarning."""
    value = getattr(optimizer, name)
    if not name.startswith("__"):
        warnings.warn(
            f"{__name__} has moved to wattlens.zeus; the next release removes the old name", DeprecationWarning, stacklevel=2
        )
    return value
