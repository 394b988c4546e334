"""Hooks of training libraries: `wattlens.hooks.torch`, `hf` and `lightning`; of a gateway: `wattlens.hooks.litellm`."""

from importlib import import_module
from types import ModuleType

__all__ = ["hf", "lightning", "litellm", "torch"]


def __getattr__(name: str) -> ModuleType:
    """One of the hooks, imported when it is used."""
    if name in __all__:
        return import_module(f"wattlens.hooks.{name}")
    raise AttributeError(f"module 'wattlens.hooks' has no attribute {name!r}")
