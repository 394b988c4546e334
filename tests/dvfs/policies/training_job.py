"""A training job seen once a second, as the agent sees it: the table is the truth, the policy gets counters."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

from dvfs.tables import SettingTable
from dvfs.types import Decision, DeviceObservation, DvfsPolicy, Observation, Setting, SteeringSettings, WorkCounters

NS = 1_000_000_000


@dataclass
class Job:
    """`step_s` is the time of a step at the table's default; two equal devices share the power."""

    table: SettingTable
    policy: DvfsPolicy
    config: Any
    step_s: float = 0.3
    slowdown: float = 0.05
    enforced: bool = True
    noise: float = 0.02
    t_s: float = 100.0
    state: Any = None
    in_force: dict[str, Setting] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    changes: dict[str, object] = field(default_factory=dict)  # of every device's observation
    doing: str = "training"
    lengths: tuple[float, float] = (1.0, 1.0)  # range of a step's work; its tokens are reported where it varies
    work_s: float = 0.0  # time that went into steps, and what it would have been at the default
    default_s: float = 0.0

    def __post_init__(self) -> None:
        self.state = self.policy.start() if self.state is None else self.state
        self.draw, self.steps, self.energy_j, self.part, self.step_end_s = random.Random(4), 0, 0.0, 0.0, self.t_s
        self.tokens, self.length = 0, 1.0

    def setting(self) -> float:
        one = next(iter(self.in_force.values()), None)
        if one is None:
            return self.table.default.setting
        return float(one.sm_clock_max_mhz or one.power_limit_mw // 1000)

    def second(self) -> Decision:
        row = min(self.table.rows, key=lambda r: abs(r.setting - self.setting()))
        ratio = row.time_s / self.table.default.time_s
        end = self.t_s + 1
        while self.doing == "training":
            took = self.step_s * self.length * ratio * max(0.1, 1 + self.draw.gauss(0, self.noise)) - self.part
            if self.t_s + took > end:
                self.part += end - self.t_s
                break
            self.t_s, self.part, self.steps = self.t_s + took, 0.0, self.steps + 1
            self.tokens, self.length = self.tokens + round(1000 * self.length), self.draw.uniform(*self.lengths)
            self.step_end_s = self.t_s
        self.t_s = end
        self.energy_j += row.power_w
        if self.doing == "training":
            self.work_s, self.default_s = self.work_s + 1, self.default_s + 1 / ratio
        decision, self.state = self.policy.decide(self.observation(), self.state, self.config)
        self.decisions.append(decision)
        if decision.action != "hold" and self.enforced:
            self.in_force = dict(decision.settings)
        return decision

    def observation(self) -> Observation:
        now = int(self.t_s * NS)
        clocks = self.table.knob == "sm_clock_mhz"
        top = int(self.table.default.setting)
        devices = tuple(
            replace(
                DeviceObservation(
                    f"GPU-{i}", "NVIDIA A100-SXM4-80GB", now, 1000, 300_000, 400_000 if clocks else top * 1000, 0, 100,
                    int(self.energy_j * 5e5), (100_000, 400_000 if clocks else top * 1000), top if clocks else 1410,
                ),
                **self.changes,
            )
            for i in range(2)
        )  # fmt: skip
        progress = WorkCounters(
            now,
            self.tokens if self.lengths[0] < 1 else None,
            steps=self.steps,
            step_end_ns=int(self.step_end_s * NS),
            doing=self.doing,
        )
        return Observation(
            "job", now, devices, progress, True, "w", terms=SteeringSettings(slowdown_ratio=self.slowdown),
            enforced=self.enforced, in_force=self.in_force,
        )  # fmt: skip

    def run(self, seconds: int) -> "Job":
        for _ in range(seconds):
            self.second()
        return self
