"""Log the energy of a training run to MLflow.

    from wattlens.hooks.mlflow import MlflowEnergyLog
    with mlflow.start_run():
        energy = MlflowEnergyLog()
        for batch in data:
            train_step(batch)
            wattlens.step(tokens=4096)
            energy.step()
        energy.finish()

Values are sent by MLflow's asynchronous logging, so a slow server does not delay a step; `finish` waits at most 10 s for it.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, Unpack

from energy_agent.runtime.threads import start_thread
from energy_agent.sdk.training.energy_log import EnergyLog, EnergyLogOptions

__all__ = ["MlflowEnergyLog"]

_MS_PER_S: Final = 1000
_PENDING_MAX: Final = 100
_FLUSH_S: Final = 10.0


class _MlflowTracker:
    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._pending: deque[Any] = deque(maxlen=_PENDING_MAX)

    def _client(self) -> Any:
        mlflow = import_module("mlflow")
        if not self._run_id:
            active = mlflow.active_run()
            if active is None:
                raise RuntimeError("MLflow has no active run, and run_id is not set")
            self._run_id = active.info.run_id
        return mlflow.MlflowClient()

    def log(self, values: Mapping[str, float], step: int) -> None:
        metric = import_module("mlflow.entities").Metric
        now_ms = round(time.time() * _MS_PER_S)
        metrics = [metric(name, value, now_ms, step) for name, value in values.items()]
        client = self._client()
        self._pending.append(client.log_batch(self._run_id, metrics=metrics, synchronous=False))

    def note(self, name: str, text: str) -> None:
        client = self._client()
        self._pending.append(client.set_tag(self._run_id, name, text, synchronous=False))

    def flush(self) -> None:
        thread = threading.Thread(target=self._wait, name="wattlens-mlflow", daemon=True)
        start_thread(thread)
        thread.join(_FLUSH_S)

    def _wait(self) -> None:
        while self._pending:
            with suppress(Exception):  # MLflow has logged its reason
                self._pending.popleft().wait()


class MlflowEnergyLog(EnergyLog):
    """Logs energy to a run of MLflow.

    Args:
        run_id: of the run; by default the active one.
        options: `run`, `every_s`, `carbon_g_per_kwh` and `carbon_basis` of `EnergyLog`.
    """

    def __init__(self, run_id: str = "", **options: Unpack[EnergyLogOptions]) -> None:
        super().__init__(_MlflowTracker(run_id), **options)
