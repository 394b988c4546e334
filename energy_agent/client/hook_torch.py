"""The former name of `wattlens.hooks.torch`, for one release."""

import warnings
from typing import Any

from energy_agent.sdk.hooks import torch


def __getattr__(name: str) -> Any:
    """What `wattlens.hooks.torch` has of that name, with a DeprecationWarning."""
    value = getattr(torch, name)
    if not name.startswith("__"):
        warnings.warn(
            f"{__name__} has moved to wattlens.hooks.torch; the next release removes the old name",
            DeprecationWarning,
            stacklevel=2,
        )
    return value
