"""Energy of a training run at its steps, for trackers of experiments such as W&B and MLflow.

Only rank 0 logs. With an agent the energy is that of all ranks on its node; without one that of the GPUs that it sees.
"""

import time
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypedDict

from energy_agent.core.units import J_PER_KWH
from energy_agent.sdk.stated_carbon import check_carbon
from energy_agent.sdk.training.progress import Status
from energy_agent.sdk.training.step_counter import counter, guarded, training

PREFIX: Final = "wattlens/"
EVERY_S: Final = 10.0


class ExperimentTracker(Protocol):
    """Where values go. Neither method may wait for a network."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values of a step."""

    def note(self, name: str, text: str) -> None:
        """Set a text of the whole run."""

    def flush(self) -> None:
        """Send what is left; may wait."""


class EnergyLogOptions(TypedDict, total=False):
    """Options of `EnergyLog` that a tracker's own log passes on."""

    run: training | None
    every_s: float
    carbon_g_per_kwh: float | None
    carbon_basis: str


class EnergyLog:
    """Logs energy at most every `every_s` seconds, with the number of the step.

    Args:
        tracker: where to.
        run: `wattlens.training(...)`; by default one from here on.
        every_s: least time between two values.
        carbon_g_per_kwh: carbon intensity of the electricity, for `wattlens/co2e_grams`.
        carbon_basis: its source, year and what emissions it includes; required with it.

    Raises:
        UsageError: a carbon intensity without its basis.
    """

    def __init__(
        self,
        tracker: ExperimentTracker,
        run: training | None = None,
        *,
        every_s: float = EVERY_S,
        carbon_g_per_kwh: float | None = None,
        carbon_basis: str = "",
    ) -> None:
        check_carbon(carbon_g_per_kwh, carbon_basis)
        self._tracker, self._every_s, self._carbon, self._basis = tracker, every_s, carbon_g_per_kwh, carbon_basis
        self._run = training() if run is None else run
        self._step, self._due_s = 0, time.monotonic() + min(every_s, EVERY_S)
        self._noted: dict[str, str] = {}

    @guarded
    def step(self, number: int | None = None) -> None:
        """A step is done: `number`, or the next one. Takes microseconds where no value is due; never raises."""
        self._step = self._step + 1 if number is None else int(number)
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + self._every_s
            self._log(self._run.status(wait=False))

    @guarded
    def finish(self) -> None:
        """Log the energy up to now; may wait a second for it, and for the tracker."""
        self._log(self._run.status())
        self._tracker.flush()

    def _log(self, progress: Status) -> None:
        if counter().as_report()["rank"]:
            return
        values = energy_values(progress, self._carbon)
        if values:
            self._tracker.log({PREFIX + name: value for name, value in values.items()}, self._step)
        self._note("absent_reason", "" if values else progress.reason)
        if self._carbon is not None:
            self._note("carbon_basis", f"{self._carbon:g} gCO2e/kWh: {self._basis}")

    def _note(self, name: str, text: str) -> None:
        if self._noted.get(name, "") != text:
            self._noted[name] = text
            self._tracker.note(PREFIX + name, text)


def energy_values(progress: Status, carbon_g_per_kwh: float | None = None) -> dict[str, float]:
    """Values of a status by name; empty without energy. Bounds and ratios are absent where they are not known."""
    if progress.joules is None:
        return {}
    values: dict[str, Any] = {
        "energy_joules": progress.joules,
        "energy_joules_lower": progress.low,
        "energy_joules_upper": progress.high,
        "power_watts": progress.power_w,
    }
    for name, ratio in (("joules_per_step", progress.joules_per_step), ("joules_per_token", progress.joules_per_token)):
        values[name] = ratio
        if ratio is not None and progress.joules and progress.low is not None and progress.high is not None:
            values[f"{name}_lower"] = ratio * progress.low / progress.joules
            values[f"{name}_upper"] = ratio * progress.high / progress.joules
    if carbon_g_per_kwh is not None:
        values["co2e_grams"] = progress.joules / J_PER_KWH * carbon_g_per_kwh
    return {name: float(value) for name, value in values.items() if value is not None}
