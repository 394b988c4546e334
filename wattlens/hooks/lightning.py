"""Count the steps of Lightning: `WattlensCallback`."""

from typing import TYPE_CHECKING, Any

from energy_agent.sdk.hooks import lightning

if TYPE_CHECKING:
    WattlensCallback: Any

__all__ = ["WattlensCallback"]


def __getattr__(name: str) -> Any:
    """`WattlensCallback`: Lightning is imported on first access."""
    return getattr(lightning, name)
