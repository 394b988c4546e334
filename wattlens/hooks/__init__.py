"""Hooks of training libraries (`wattlens.hooks.torch`, `hf`, `lightning`), experiment trackers (`wandb`, `mlflow`), LiteLLM."""

from importlib import import_module
from types import ModuleType

__all__ = ["hf", "lightning", "litellm", "mlflow", "torch", "wandb"]


def __getattr__(name: str) -> ModuleType:
    """One of the hooks, imported when it is used."""
    if name in __all__:
        return import_module(f"wattlens.hooks.{name}")
    raise AttributeError(f"module 'wattlens.hooks' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The hooks, for completion and `help`."""
    return __all__
