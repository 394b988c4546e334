"""A page of a server's counters that a test turns by hand, and the observation that a policy gets of it."""

from bisect import bisect_left
from dataclasses import dataclass, field, replace

from dvfs.types import DeviceObservation, Observation, SteeringSettings, WorkCounters
from energy_agent.core.workloads.tokens import Latencies

NS = 1_000_000_000
START_S = 100.0
TTFT_EDGES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
ITL_EDGES = (0.01, 0.025, 0.05, 0.075, 0.1)
KNEE_MHZ, TOP_MHZ = 1005, 1980  # of the H100's row in dvfs/knees.json
DEVICE = DeviceObservation(
    "GPU-0",
    "NVIDIA H100 80GB HBM3",
    0,
    sm_clock_mhz=TOP_MHZ,
    power_limit_mw=700_000,
    event_reasons=0,
    energy_uj=0,
    sm_clock_max_mhz=TOP_MHZ,
)
TERMS = SteeringSettings(ttft_s=0.5, itl_s=0.05)


@dataclass
class Page:
    """Cumulative counters, as a server has them."""

    at_s: float = START_S
    tokens: int = 0
    prompt_tokens: int = 0
    requests: int = 0
    running: int = 0
    queue: int = 0
    ttft: list[int] = field(default_factory=lambda: [0] * (len(TTFT_EDGES) + 1))
    ttft_sum_s: float = 0.0
    gaps: int = 0
    gap_sum_s: float = 0.0
    energy_j: float = 0.0

    def first(self, took_s: float, prompt: int) -> None:
        """A first token came."""
        self.ttft[bisect_left(TTFT_EDGES, took_s)] += 1
        self.ttft_sum_s += took_s
        self.prompt_tokens += prompt
        self.tokens += 1

    def decode(self, seconds: float, batch: int, gap_s: float) -> None:
        """Time passes in which so many sequences get tokens."""
        steps = int(seconds / gap_s)
        self.at_s += seconds
        self.tokens += steps * batch
        self.gaps += steps * batch
        self.gap_sum_s += steps * batch * gap_s

    def observe(self, terms: SteeringSettings = TERMS, **changes: object) -> Observation:
        """What Wattlens sees now; `changes` are fields of the progress."""
        now = round(self.at_s * NS)
        itl = Latencies(ITL_EDGES, (0, 0, self.gaps, 0, 0, 0), self.gap_sum_s)
        progress = WorkCounters(
            now,
            tokens=self.tokens,
            queue=self.queue,
            latency_sum_s=self.gap_sum_s,
            latency_count=self.gaps,
            prompt_tokens=self.prompt_tokens,
            requests=self.requests,
            running=self.running,
            ttft=Latencies(TTFT_EDGES, tuple(self.ttft), self.ttft_sum_s),
            itl=itl,
        )
        device = replace(DEVICE, boot_ns=now, energy_uj=round(self.energy_j * 1e6))
        return Observation(
            "g", now, (device,), replace(progress, **changes), progress_expected=True, open_arrivals=True, terms=terms
        )


def calm(page: Page, seconds: int) -> list[Observation]:
    """Light load: a request a second, 100 ms to its first token, two sequences that decode at 20 ms."""
    found = []
    for _ in range(seconds):
        page.running = 2
        page.decode(1.0, 2, 0.02)
        page.first(0.1, 500)
        page.requests += 1
        page.energy_j += 200.0
        found.append(page.observe())
    return found
