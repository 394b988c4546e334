"""Hooks of training libraries: `wattlens.hooks.torch`, `wattlens.hooks.hf` and `wattlens.hooks.lightning`."""

from importlib import import_module
from types import ModuleType

__all__ = ["hf", "lightning", "torch"]


def __getattr__(name: str) -> ModuleType:
    """One of the hooks, imported when it is used."""
    if name in __all__:
        return import_module(f"wattlens.hooks.{name}")
    raise AttributeError(f"module 'wattlens.hooks' has no attribute {name!r}")
