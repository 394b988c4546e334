"""Wattlens: energy and efficiency observability for GPU fleets, every joule accounted for once."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_agent.client.measurement import measure

__version__ = "0.1.0"
__all__ = ["__version__", "measure"]


def __getattr__(name: str) -> Any:
    """`wattlens.measure`, loaded when it is used: importing Wattlens costs nothing."""
    if name == "measure":
        from energy_agent.client.measurement import measure

        return measure
    raise AttributeError(f"module 'wattlens' has no attribute {name!r}")
