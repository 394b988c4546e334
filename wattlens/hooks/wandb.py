"""Log the energy of a training run to Weights & Biases.

    from wattlens.hooks.wandb import WandbEnergyLog
    energy = WandbEnergyLog()  # in the run of wandb.init
    for batch in data:
        train_step(batch)
        wattlens.step(tokens=4096)
        energy.step()
    energy.finish()

The values `wattlens/*` have the axis `wattlens/step`, so they do not disturb the run's own steps.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Unpack

from energy_agent.sdk.training.energy_log import PREFIX, EnergyLog, EnergyLogOptions

__all__ = ["WandbEnergyLog"]

_STEP = f"{PREFIX}step"


class _WandbTracker:
    def __init__(self, run: Any) -> None:
        self._run, self._is_defined, self._wandb_step = run, False, -1

    def _current(self) -> Any:
        run = self._run or getattr(sys.modules.get("wandb") or import_module("wandb"), "run", None)
        if run is None:
            raise RuntimeError("wandb.init has not been called")
        if not self._is_defined:
            self._is_defined = True
            run.define_metric(_STEP, hidden=True)
            run.define_metric(f"{PREFIX}*", step_metric=_STEP)
        return run

    def log(self, values: Mapping[str, float], step: int) -> None:
        run = self._current()
        # A committed row ends W&B's step, and later values that the program logs for that step would be lost. So a row is
        # left to the program's next one, unless the program has logged none since the last time.
        run.log({**values, _STEP: step}, commit=run.step == self._wandb_step)
        self._wandb_step = run.step

    def note(self, name: str, text: str) -> None:
        self._current().summary[name] = text

    def flush(self) -> None:
        """wandb.finish sends what is left."""


class WandbEnergyLog(EnergyLog):
    """Logs energy to a run of Weights & Biases.

    Args:
        wandb_run: the run; by default that of `wandb.init`.
        options: `run`, `every_s`, `carbon_g_per_kwh` and `carbon_basis` of `EnergyLog`.
    """

    def __init__(self, wandb_run: Any = None, **options: Unpack[EnergyLogOptions]) -> None:
        super().__init__(_WandbTracker(wandb_run), **options)
