"""Boards at their power limit, steered as in the agent: one observation per second, counters and clocks alone."""

from dataclasses import dataclass, field
from typing import Any

from dvfs import knees
from dvfs.types import Decision, DeviceObservation, DvfsPolicy, Observation, Setting, SteeringSettings, WorkCounters
from tests.dvfs.policies.limited_board import LimitedBoard, SaturatedPlant

NS = 1_000_000_000


@dataclass
class LimitedJob:
    """Saturating work on a board under a policy. `queue`: None for a training job, else requests that wait at its server."""

    board: LimitedBoard
    policy: DvfsPolicy
    seed: int = 0
    slowdown: float = 0.03
    queue: int | None = None
    options: dict[str, object] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plant = SaturatedPlant(self.board, self.seed)
        self.config: Any = self.policy.configure(self.options, knees.load())
        self.state: Any = self.policy.start()
        self.in_force: dict[str, Setting] = {}

    def run(self, seconds: int) -> "LimitedJob":
        """Let time pass, and apply what the policy decides."""
        for _ in range(seconds):
            self.plant.advance(1.0)
            decision, self.state = self.policy.decide(self.observation(), self.state, self.config)
            self.decisions.append(decision)
            if decision.action != "hold":
                self.in_force = dict(decision.settings)
                setting = next(iter(self.in_force.values()), Setting())
                self.plant.lock_mhz = setting.sm_clock_max_mhz
        return self

    def observation(self) -> Observation:
        """What a policy sees now."""
        plant, now = self.plant, round((100 + self.plant.now_s) * NS)
        mhz, power_mw, reasons = plant.reading()
        limit_mw, top = round(1e3 * self.board.limit_w), self.board.f_max_mhz
        device = DeviceObservation(
            "GPU-0", "drawn", now, mhz, power_mw, limit_mw, reasons, 100, round(1e6 * plant.energy_j), (100_000, limit_mw), top
        )
        ended = round((100 + plant.last_step_s) * NS)
        if self.queue is None:
            work = WorkCounters(now, steps=plant.steps, step_end_ns=ended)
        else:
            work = WorkCounters(now, tokens=1000 * plant.steps, queue=self.queue, step_end_ns=ended)
        terms = SteeringSettings(slowdown_ratio=self.slowdown)
        return Observation("job", now, (device,), work, True, "w", terms=terms, in_force=self.in_force)

    @property
    def saving_ratio(self) -> float:
        """Energy per step against the unlocked board's."""
        free = self.board.run()
        return 1 - self.plant.energy_j / (self.plant.steps + 1) / free.step_j

    @property
    def slowdown_ratio(self) -> float:
        """Time per step against the unlocked board's."""
        return self.plant.now_s / (self.plant.steps + 1) / self.board.run().step_s - 1
