"""Wattlens: energy and efficiency observability for GPU fleets, every joule accounted for once."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_agent.sdk.measure.measurement import measure
    from energy_agent.sdk.steering.steered import steered
    from energy_agent.sdk.training.run import phase, step, training

__version__ = "0.1.0"
__all__ = ["__version__", "measure", "phase", "steered", "step", "training"]

_HOMES = {
    "measure": "measure.measurement",
    "phase": "training.run",
    "steered": "steering.steered",
    "step": "training.run",
    "training": "training.run",
}


def __getattr__(name: str) -> Any:
    """`wattlens.measure` and the others, loaded when they are used: importing Wattlens costs nothing."""
    if name in _HOMES:
        from importlib import import_module

        found = globals()[name] = getattr(import_module(f"energy_agent.sdk.{_HOMES[name]}"), name)
        return found
    raise AttributeError(f"module 'wattlens' has no attribute {name!r}")
