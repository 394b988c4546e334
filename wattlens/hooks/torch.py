"""Count the steps of any PyTorch loop: `attach(optimizer, ...)`."""

from energy_agent.sdk.hooks.torch import TorchHook, attach

__all__ = ["TorchHook", "attach"]
