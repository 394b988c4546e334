"""Count the steps of Hugging Face's Trainer: `WattlensCallback`."""

from typing import TYPE_CHECKING, Any

from energy_agent.sdk.hooks import hf

if TYPE_CHECKING:
    WattlensCallback: Any

__all__ = ["WattlensCallback"]


def __getattr__(name: str) -> Any:
    """`WattlensCallback`: transformers is imported on first access."""
    return getattr(hf, name)
