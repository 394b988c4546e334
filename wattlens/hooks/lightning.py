"""Hook for Lightning, by either of its names (`lightning`, `pytorch_lightning`):

    from wattlens.hooks.lightning import WattlensCallback
    trainer = Trainer(..., callbacks=[WattlensCallback()])

Validation is reported as a wait from its start to its end, a checkpoint from `on_save_checkpoint` to the next event, and the
wait for data from the end of a batch to the start of the next one. Nothing within a batch is timed.
"""

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from energy_agent.sdk.ranks import RankPosition
from energy_agent.sdk.training.step_counter import counter, guarded
from wattlens.hooks.torch import model_name, place

if TYPE_CHECKING:
    from energy_agent.sdk.steering.steered import steered
    from energy_agent.sdk.training.energy_log import EnergyLog

    WattlensCallback: Any

_EVALUATION, _CHECKPOINT, _DATA = "evaluation", "checkpoint", "data_wait"


class _Events:
    """What is done at the Trainer's events.

    `tokens`: how many of a batch this rank trains, or a function of the batch that returns the number; by default the size of
    the batch's `input_ids`, if it has them.
    `steered`: `wattlens.steered()`, for a job over several nodes.
    `log`: of `wattlens.hooks.wandb` or `wattlens.hooks.mlflow`; gets the energy at the Trainer's steps.
    """

    def __init__(
        self,
        tokens: int | Callable[[Any], int] | None = None,
        model: str = "",
        steered: "steered | None" = None,
        log: "EnergyLog | None" = None,
    ) -> None:
        self._tokens, self._model, self._steered, self._energy_log = tokens, model, steered, log
        self._step = 0
        self._since: tuple[str, float] | None = None  # what may be a wait, and since when

    @guarded
    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        position = place() or RankPosition(trainer.global_rank, trainer.world_size)
        facts = {"model": self._model or model_name(pl_module), "precision": str(getattr(trainer, "precision", ""))}
        counter().describe(position if position.world > 1 else None, facts)
        counter().reporter.start()

    @guarded
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._step = trainer.global_step

    @guarded
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._over()

    @guarded
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._steered is not None:
            self._steered.step()  # first of all: whatever goes wrong below, other ranks wait for this one here
        done, self._step = trainer.global_step - self._step, trainer.global_step
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        counter().step(self._trained(batch), loss, max(0, done))
        if self._energy_log is not None:
            self._energy_log.step(trainer.global_step)
        self._since = _DATA, time.monotonic()

    @guarded
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._over()
        if not trainer.sanity_checking:
            counter().enter(_EVALUATION)
            self._since = _EVALUATION, time.monotonic()

    @guarded
    def on_validation_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        if not trainer.sanity_checking:
            counter().step(0, None)

    @guarded
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            counter().leave(_EVALUATION)
            self._over(_DATA)

    @guarded
    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        self._over()
        self._since = _CHECKPOINT, time.monotonic()

    @guarded
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._over(_DATA)

    @guarded
    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._over()
        counter().reporter.flush()
        if self._energy_log is not None:
            self._energy_log.finish()

    def _over(self, then: str = "") -> None:
        """Something else begins: what was under way is over."""
        now_s = time.monotonic()
        if self._since is not None:
            counter().waited(self._since[0], now_s - self._since[1])
        self._since = (then, now_s) if then else None

    def _trained(self, batch: Any) -> int:
        if callable(self._tokens):
            return self._tokens(batch)
        if self._tokens is not None:
            return self._tokens
        ids = batch["input_ids"] if isinstance(batch, Mapping) and "input_ids" in batch else None
        return int(ids.numel()) if ids is not None else 0


def __getattr__(name: str) -> Any:
    """`WattlensCallback`, a Lightning `Callback`: Lightning is imported on first access."""
    if name == "WattlensCallback":
        home = next((n for n in ("lightning.pytorch", "pytorch_lightning") if find_spec(n.partition(".")[0]) is not None), None)
        if home is None:
            raise ImportError("neither lightning nor pytorch-lightning is installed")
        base = import_module(home).Callback
        callback = globals()[name] = type(name, (_Events, base), {"__doc__": _Events.__doc__})
        return callback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
