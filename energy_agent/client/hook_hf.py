"""The former name of `wattlens.hooks.hf`, for one release."""

import warnings
from typing import Any

from energy_agent.sdk.hooks import hf


def __getattr__(name: str) -> Any:
    """What `wattlens.hooks.hf` has of that name, with a DeprecationWarning."""
    value = getattr(hf, name)
    if not name.startswith("__"):
        warnings.warn(
            f"{__name__} has moved to wattlens.hooks.hf; the next release removes the old name",
            DeprecationWarning,
            stacklevel=2,
        )
    return value
