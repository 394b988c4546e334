"""Hook for any PyTorch loop: counts the steps of an optimizer.

    from wattlens.hooks.torch import attach
    attach(optimizer, model=model, tokens=batch_size * sequence_length)

PyTorch is not imported here: a program with an optimizer has done so. Under DDP and FSDP every rank attaches its own optimizer;
rank and world size are those of `torch.distributed`, the group's name is the launcher's.
"""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from energy_agent.sdk.ranks import RankPosition, place_of
from energy_agent.sdk.training.step_counter import counter, guarded

if TYPE_CHECKING:
    from energy_agent.sdk.steering.steered import steered


class TorchHook:
    """Counts until `remove()`. `loss` may be set before a step: a number, or a tensor on the CPU."""

    def __init__(
        self, optimizer: Any, model: Any, tokens: int | Callable[[], int], precision: str, steered: "steered | None" = None
    ) -> None:
        self._tokens, self._model, self._precision, self._steered = tokens, model, precision, steered
        self._described = False
        self.loss: object = None
        self._handle = optimizer.register_step_post_hook(self._stepped)

    def remove(self) -> None:
        """Count no more."""
        self._handle.remove()

    @guarded
    def _stepped(self, *_: object) -> None:
        if self._steered is not None:
            self._steered.step()  # first of all: whatever goes wrong below, other ranks wait for this one here
        if not self._described:
            self._describe()
        tokens = self._tokens() if callable(self._tokens) else self._tokens
        counter().step(tokens, self.loss)

    # Dynamo must not trace into it where a whole step is compiled: it reads clocks and takes a lock.
    _stepped._torchdynamo_disable = True  # type: ignore[attr-defined]

    def _describe(self) -> None:
        """At the first step the process group stands, and autocast has been seen."""
        self._described = True
        counter().describe(place(), {"model": model_name(self._model), "precision": self._precision or precision(self._model)})


def attach(
    optimizer: Any,
    *,
    model: Any = None,
    tokens: int | Callable[[], int] = 0,
    precision: str = "",
    steered: "steered | None" = None,
) -> TorchHook:
    """Count the steps of an optimizer (`torch.optim.Optimizer`).

    Args:
        optimizer: of a GAN or the like, one of its optimizers.
        model: what is trained: a module, or its name.
        tokens: how many this rank trains in a step, or a function that returns the number. If several ranks share one batch
            (tensor or pipeline parallel), one of them reports it and the others report 0.
        precision: such as "bf16"; by default that of the parameters.
        steered: `wattlens.steered()`, for a job over several nodes whose ranks all take the same steps.

    A step that a GradScaler skips is not counted.
    """
    return TorchHook(optimizer, model, tokens, precision, steered)


def place() -> RankPosition | None:
    """Rank and world of `torch.distributed`; None where it is not initialised: then the environment says."""
    torch_distributed = sys.modules.get("torch.distributed")
    if torch_distributed is None or not torch_distributed.is_available() or not torch_distributed.is_initialized():
        return None
    return RankPosition(torch_distributed.get_rank(), torch_distributed.get_world_size(), place_of(os.environ).group)


def model_name(model: Any) -> str:
    """Name of a model: of its configuration where it has one (Hugging Face), else of its class; wrappers are looked through."""
    if model is None or isinstance(model, str):
        return model or ""
    while hasattr(model, "module") and type(model).__name__ in ("DistributedDataParallel", "FullyShardedDataParallel"):
        model = model.module
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    named = getattr(getattr(model, "config", None), "name_or_path", "")
    return str(named) if named else type(model).__name__.removeprefix("FSDP")


def precision(model: Any) -> str:
    """Precision of a module's parameters, or of autocast where the step ran under it; "" where it is not known."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(model, "parameters"):
        return ""
    parameter = next(iter(model.parameters()), None)
    if parameter is None:
        return ""
    dtype = parameter.dtype
    if torch.is_autocast_enabled(parameter.device.type):
        dtype = torch.get_autocast_dtype(parameter.device.type)
    return {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(str(dtype).removeprefix("torch."), str(dtype)[6:])
