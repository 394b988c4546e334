"""Predicted saving of decisions in shadow mode, where none is applied. Pure."""

from dataclasses import dataclass
from math import exp

from dvfs.policies.slo._interval import ServingInterval
from dvfs.policies.slo._response import Clocks, ServerModel

_TAU_S = 1800.0


@dataclass(frozen=True, slots=True)
class PredictedSaving:
    """Energy at the highest clock and the saving predicted for the chosen clocks, in J; old intervals decay.

    `doubt_j` is a standard deviation of the saving: how the server answers is one and the same unknown all the time.
    """

    seconds: float = 0.0
    top_j: float = 0.0
    saved_j: float = 0.0
    doubt_j: float = 0.0

    @property
    def saving_ratio(self) -> tuple[float, float]:
        """Share of the energy that is saved, and its standard deviation."""
        top_j = max(1e-9, self.top_j)
        return self.saved_j / top_j, self.doubt_j / top_j

    def add_interval(
        self, interval: ServingInterval, response: ServerModel, clocks: Clocks, top: int, chosen: int
    ) -> "PredictedSaving":
        """With the next interval, which is taken to be like this one: decode all the time, and prompts for their share."""
        dt, batch = interval.seconds, interval.decoding
        high, low = clocks.grid_mhz[top], clocks.grid_mhz[chosen]
        work_s = response.first_s(response.slow(clocks, high), interval.prompt_tokens, batch) if interval.prompt_tokens else 0.0
        share = min(1.0, work_s / dt)
        top_w, top_doubt_w = response.step_w(clocks, high, batch, share)
        low_w, low_doubt_w = response.step_w(clocks, low, batch, share)
        fade = exp(-dt / _TAU_S)
        return PredictedSaving(
            self.seconds + dt,
            self.top_j * fade + top_w * dt,
            self.saved_j * fade + (top_w - low_w) * dt,
            self.doubt_j * fade + abs(top_doubt_w - low_doubt_w) * dt,
        )
