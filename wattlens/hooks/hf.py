"""Hook for Hugging Face's Trainer, and those that follow it (SFTTrainer, DPOTrainer, ...):

    from wattlens.hooks.hf import WattlensCallback
    trainer = Trainer(..., callbacks=[WattlensCallback()])

The order of the Trainer's own events shows which wait is an evaluation or a checkpoint: the time from the end of a step to
`on_evaluate` is evaluation, the time from there to `on_save` is the checkpoint, and the rest until the next step begins is the
wait for data. Nothing within a step is timed.
"""

import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from energy_agent.sdk.training.step_counter import counter, guarded
from wattlens.hooks.torch import model_name, place

if TYPE_CHECKING:
    from energy_agent.sdk.steering.steered import steered
    from energy_agent.sdk.training.energy_log import EnergyLog

    WattlensCallback: Any

_EVALUATION = "evaluation"


class _Events:
    """What is done at the Trainer's events.

    `tokens`: how many this rank trains in an optimizer step, or a function of (args, state) that returns the number; by default
    the Trainer's own count with `include_num_input_tokens_seen`, in equal parts for its ranks.
    `steered`: `wattlens.steered()`, for a job over several nodes.
    `log`: of `wattlens.hooks.wandb` or `wattlens.hooks.mlflow`; gets the energy at the Trainer's steps.
    """

    def __init__(
        self,
        tokens: int | Callable[[Any, Any], int] | None = None,
        model: str = "",
        steered: "steered | None" = None,
        log: "EnergyLog | None" = None,
    ) -> None:
        self._tokens, self._model, self._steered, self._energy_log = tokens, model, steered, log
        self._step = self._tokens_seen = self._tokens_left = 0
        self._mark_s: float | None = None
        self._evaluating = False

    @guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._step, self._tokens_seen = state.global_step, getattr(state, "num_input_tokens_seen", 0)
        precision = "bf16" if getattr(args, "bf16", False) else "fp16" if getattr(args, "fp16", False) else ""
        counter().describe(place(), {"model": self._model or model_name(model), "precision": precision})
        counter().reporter.start()
        self._mark_s = time.monotonic()

    @guarded
    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait("data_wait")

    @guarded
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._steered is not None:
            self._steered.step()  # first of all: whatever goes wrong below, other ranks wait for this one here
        done, self._step = state.global_step - self._step, state.global_step
        counter().step(self._trained(args, state), None, max(0, done))
        if self._energy_log is not None:
            self._energy_log.step(state.global_step)
        self._mark_s = time.monotonic()

    @guarded
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None:
            counter().step(0, float(loss), 0)
        if not self._evaluating:
            self._mark_s = time.monotonic()  # the loss was read: that waited for the step itself

    @guarded
    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._evaluating:
            self._evaluating = True
            counter().enter(_EVALUATION)
        counter().step(0, None)

    @guarded
    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._evaluated()

    @guarded
    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        self._evaluated()

    @guarded
    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait("checkpoint")

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._mark_s = None
        counter().reporter.flush()
        if self._energy_log is not None:
            self._energy_log.finish()

    def _evaluated(self) -> None:
        if self._evaluating:
            self._evaluating = False
            counter().leave(_EVALUATION)
        self._wait(_EVALUATION)

    def _wait(self, phase: str) -> None:
        now_s = time.monotonic()
        if self._mark_s is not None:
            counter().waited(phase, now_s - self._mark_s)
            self._mark_s = now_s

    def _trained(self, args: Any, state: Any) -> int:
        if callable(self._tokens):
            return self._tokens(args, state)
        if self._tokens is not None:
            return self._tokens
        tokens_seen = int(getattr(state, "num_input_tokens_seen", 0))
        fresh, self._tokens_seen = self._tokens_left + max(0, tokens_seen - self._tokens_seen), tokens_seen
        ranks = max(1, getattr(args, "world_size", 1))
        self._tokens_left = fresh % ranks  # the Trainer counts those of all ranks together
        return fresh // ranks


def __getattr__(name: str) -> Any:
    """`WattlensCallback`, a `transformers.TrainerCallback`: transformers is imported on first access."""
    if name == "WattlensCallback":
        base = import_module("transformers").TrainerCallback
        callback = globals()[name] = type(name, (_Events, base), {"__doc__": _Events.__doc__})
        return callback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
