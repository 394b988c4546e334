"""A server under steady load, seen once per second: as many first tokens and gaps per second, all of one length each."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dvfs.types import Decision, DeviceObservation, DvfsPolicy, Observation, Setting, SteeringSettings, WorkCounters
from energy_agent.core.workloads.tokens import Latencies

NS = 1_000_000_000
EDGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
RATE, ANSWER, TOP = 5, 100, 1980


@dataclass
class Load:
    """`miss_every`: of so many first tokens one takes 0.9 s, whatever the clock. `drafts`: accepted ones of each step.

    `rate`: first tokens each second.
    `means_s`: mean times between tokens of the requests of a second, where the server reports them.
    """

    policy: DvfsPolicy
    config: Any
    ttft_s: float
    itl_s: float
    ttft_limit_s: float = 0.5
    itl_limit_s: float = 0.05
    attainment: float = 0.99
    rate: int = RATE
    miss_every: int = 0
    drafts: int = 0
    means_s: tuple[float, ...] = ()
    follows_clock: bool = False  # whether times grow as the clock falls
    t_s: float = 100.0
    queue: int = 0
    requests: int = 0
    in_force: dict[str, Setting] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    spoil: Callable[[Observation], Observation] | None = None

    def __post_init__(self) -> None:
        self.state, self.ttft, self.itl = self.policy.start(), [0] * 8, [0] * 8
        self.ttft_sum = self.itl_sum = 0.0
        self.tpot = [0] * 8

    def clock(self) -> int:
        return self.in_force["GPU-0"].sm_clock_max_mhz if self.in_force else TOP

    def second(self) -> Decision:
        if not self.requests:
            self.ttft, self.itl, self.tpot, self.ttft_sum, self.itl_sum = [0] * 8, [0] * 8, [0] * 8, 0.0, 0.0
        self.t_s += 1
        stretch = TOP / self.clock() if self.follows_clock else 1.0
        for _ in range(self.rate):
            self.requests += 1
            ttft_s = 0.9 if self.miss_every and self.requests % self.miss_every == 0 else self.ttft_s * stretch
            self.ttft[bisect_left(EDGES, ttft_s)] += 1
            self.itl[bisect_left(EDGES, self.itl_s * stretch)] += ANSWER
            self.ttft_sum, self.itl_sum = self.ttft_sum + ttft_s, self.itl_sum + ANSWER * self.itl_s * stretch
        for mean_s in self.means_s:
            self.tpot[bisect_left(EDGES, mean_s * stretch)] += 1
        observation = self.observation()
        policy_input = self.spoil(observation) if self.spoil else observation
        decision, self.state = self.policy.decide(policy_input, self.state, self.config)
        self.decisions.append(decision)
        if decision.action != "hold":
            self.in_force = dict(decision.settings)
        return decision

    def observation(self) -> Observation:
        now = int(self.t_s * NS)
        device = DeviceObservation(
            "GPU-0", "NVIDIA H100 80GB HBM3", now, self.clock(), event_reasons=0, sm_clock_max_mhz=TOP, energy_uj=now
        )
        progress = WorkCounters(
            now,
            tokens=(1 + ANSWER * (1 + self.drafts)) * self.requests,
            queue=self.queue,
            prompt_tokens=1000 * self.requests,
            requests=self.requests,
            running=2,
            ttft=Latencies(EDGES, tuple(self.ttft), self.ttft_sum),
            itl=Latencies(EDGES, tuple(self.itl), self.itl_sum),
            tpot=Latencies(EDGES, tuple(self.tpot), 1.0 * sum(self.tpot)) if self.means_s else None,
        )
        terms = SteeringSettings(ttft_s=self.ttft_limit_s, itl_s=self.itl_limit_s, attainment_ratio=self.attainment)
        return Observation("g", now, (device,), progress, True, "w", terms=terms, in_force=self.in_force)

    def run(self, seconds: int) -> "Load":
        for _ in range(seconds):
            self.second()
        return self
