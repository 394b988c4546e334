"""The interval of a group between two readings of its server's counters. Pure.

More follows from the counters than they show: ended, running and waiting requests are all requests that arrived. So the number
of requests without a first token is known, and from one reading to the next the number of arrivals.
"""

from dataclasses import dataclass

from dvfs.types import DeviceObservation, Observation, WorkCounters
from energy_agent.core.workloads.tokens import Latencies

_NS = 1e9
_MOST = 1e15  # a counter
_LONGEST = 1e7  # a prompt in tokens
_LEAST_GAP_S = 1e-6


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One reading of an inference server's counters and of the devices' energy.

    `offset` makes `pending` out of the counters: requests that came before us, or left without a token.
    """

    at_s: float
    device_s: float
    energy_j: float | None
    tokens: int
    prompt_tokens: int
    requests: int
    running: int
    queue: int
    first_tokens: int
    ttft: Latencies
    gaps: int
    gap_sum_s: float
    offset: int

    @property
    def pending(self) -> int:
        """Requests without a first token."""
        return self.requests + self.running + self.queue - self.first_tokens - self.offset

    @property
    def decoding(self) -> int:
        """Sequences that decode: those that run less those of them whose prompt is being computed."""
        return max(0, self.running - max(0, self.pending - self.queue))


@dataclass(frozen=True, slots=True)
class ServingInterval:
    """The interval between two readings. Counts are of the interval; `before` and `after` are its ends."""

    before: ServerReading
    after: ServerReading
    seconds: float
    arrived: int
    first_tokens: int
    prompt_tokens: int
    ttft: Latencies
    requests: int
    tokens: int
    gaps: int
    gap_sum_s: float
    power_w: float | None

    @property
    def ttft_sum_s(self) -> float:
        """Sum of the times to first token."""
        return self.ttft.sum_s

    @property
    def gap_s(self) -> float | None:
        """Mean time between two tokens."""
        gap_s = self.gap_sum_s / self.gaps if self.gaps else 0.0
        return gap_s if gap_s > _LEAST_GAP_S else None

    @property
    def closed(self) -> bool:
        """No prompt was open at either end: all computed prompt tokens were counted."""
        return self.before.pending == 0 and self.after.pending == 0

    @property
    def decoding(self) -> float:
        """Mean number of sequences that decoded, from both ends."""
        return (self.before.decoding + self.after.decoding) / 2


def read(observation: Observation, progress: WorkCounters, before: ServerReading | None) -> ServerReading | None:
    """The counters now; None if the server does not export a required one, or a value is implausible."""
    p = progress
    if p.tokens is None or p.prompt_tokens is None or p.requests is None or p.running is None or p.queue is None:
        return None
    sums = _gaps(p)
    if p.ttft is None or sums is None:
        return None
    first = p.ttft.count
    if not p.ttft.edges or not _sane(p.tokens, p.prompt_tokens, p.requests, p.running, p.queue, first, p.ttft.sum_s, *sums):
        return None
    raw = p.requests + p.running + p.queue - first
    offset = raw - p.queue if first else 0  # a server that has not served yet has nothing to hide
    if before is not None and first >= before.first_tokens:
        offset = before.offset
    offset = max(min(offset, raw - p.queue), raw - p.queue - p.running)  # so many are pending: from those that wait to all
    return ServerReading(
        p.boot_ns / _NS,
        max(d.boot_ns for d in observation.devices) / _NS,
        _energy_j(observation.devices),
        p.tokens,
        p.prompt_tokens,
        p.requests,
        p.running,
        p.queue,
        first,
        p.ttft,
        sums[0],
        sums[1],
        offset,
    )


def _sane(*numbers: float) -> bool:
    """Whether a server can have these counters; NaN is rejected."""
    return all(0 <= number < _MOST for number in numbers)


def between(before: ServerReading, after: ServerReading) -> ServingInterval | None:
    """What happened; None if a counter decreased: the server has restarted."""
    counts = (
        after.tokens - before.tokens,
        after.prompt_tokens - before.prompt_tokens,
        after.requests - before.requests,
        after.first_tokens - before.first_tokens,
        after.gaps - before.gaps,
    )
    seconds, gap_sum_s = after.at_s - before.at_s, after.gap_sum_s - before.gap_sum_s
    if min(counts) < 0 or gap_sum_s < 0 or seconds <= 0:
        return None
    if counts[1] > _LONGEST * max(1, counts[3]):  # no server has computed that
        return None
    try:
        ttft = after.ttft.less(before.ttft)
    except ValueError:
        return None
    power = None
    passed = after.device_s - before.device_s
    if before.energy_j is not None and after.energy_j is not None and passed > 0 and after.energy_j >= before.energy_j:
        power = (after.energy_j - before.energy_j) / passed
    return ServingInterval(
        before,
        after,
        seconds,
        max(0, after.pending + counts[3] - before.pending),
        counts[3],
        counts[1],
        ttft,
        counts[2],
        counts[0],
        counts[4],
        gap_sum_s,
        power,
    )


def _gaps(p: WorkCounters) -> tuple[int, float] | None:
    if p.latency_count is not None and p.latency_sum_s is not None:
        return p.latency_count, p.latency_sum_s
    return (p.itl.count, p.itl.sum_s) if p.itl is not None else None


def _energy_j(devices: tuple[DeviceObservation, ...]) -> float | None:
    energies = [d.energy_uj for d in devices]
    return sum(e for e in energies if e is not None) / 1e6 if all(e is not None for e in energies) else None
