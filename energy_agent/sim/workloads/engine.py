"""An LLM engine with continuous batching, as a pure state machine: requests in, steps out, what happened into its counters.

Scheduling follows vLLM's V1 engine in outline: requests in running order, prompts computed in chunks within a budget of tokens
a step, decodes and chunks together in one step, and when keys and values no longer fit, the last request is preempted and will
be computed again. Lengths of answers are known to the request alone, never to the scheduler.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from energy_agent.core.units import NS_PER_S
from energy_agent.sim.workloads.models import StepCost

# vLLM's default buckets, in s.
TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
ITL_BUCKETS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
E2E_BUCKETS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0,
    7680.0,
)  # fmt: skip

TOKEN_BUCKETS = tuple(digit * 10**power for power in range(5) for digit in (1, 2, 5))[:-1]
"""Tokens per request, as vLLM has them for a context of 32,768 tokens."""
ITERATION_BUCKETS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)  # tokens


class Histogram:
    """Counts per bucket (the last one is +Inf), not cumulated."""

    def __init__(self, buckets: Sequence[float]) -> None:
        self.buckets = tuple(buckets)
        self.counts = [0] * (len(self.buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times."""
        index = next((i for i, bound in enumerate(self.buckets) if value <= bound), len(self.buckets))
        self.counts[index] += times
        self.sum += value * times


@dataclass(slots=True)
class SimulatedCounters:
    """What the engine did since it started."""

    prompt: int = 0  # tokens of prompts, cached ones included
    cached: int = 0
    generation: int = 0
    finished: int = 0
    preemptions: int = 0
    steps: int = 0
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_BUCKETS))
    itl: Histogram = field(default_factory=lambda: Histogram(ITL_BUCKETS))
    tpot: Histogram = field(default_factory=lambda: Histogram(ITL_BUCKETS))  # a request's mean time between tokens
    e2e: Histogram = field(default_factory=lambda: Histogram(E2E_BUCKETS))
    prompts: Histogram = field(default_factory=lambda: Histogram(TOKEN_BUCKETS))  # tokens per request that finished
    computed_prompts: Histogram = field(default_factory=lambda: Histogram(TOKEN_BUCKETS))  # without cached tokens
    outputs: Histogram = field(default_factory=lambda: Histogram(TOKEN_BUCKETS))
    iterations: Histogram = field(default_factory=lambda: Histogram(ITERATION_BUCKETS))  # tokens a step


@dataclass(slots=True, eq=False)
class SimulatedRequest:
    """One request. Of `to_compute` tokens (its prompt, after a preemption its answer so far too) `computed` are there."""

    arrived_ns: int
    prompt: int
    output: int
    cached: int = 0
    generated: int = 0
    computed: int = 0
    to_compute: int = 0
    first_token_ns: int = 0
    last_token_ns: int = 0

    @property
    def decoding(self) -> bool:
        """All it had to compute is there."""
        return self.computed >= self.to_compute

    @property
    def kv(self) -> int:
        """Tokens whose keys and values it holds."""
        return max(self.to_compute, self.prompt + self.generated)


@dataclass(frozen=True, slots=True)
class EngineStep:
    """One or more equal engine steps to be run on every GPU. Chunks are (request, tokens) of prompts."""

    reference_s: float
    memory_boundness: float
    intensity: float
    repeats: int
    decodes: tuple[SimulatedRequest, ...]
    chunks: tuple[tuple[SimulatedRequest, int], ...]


class BatchingEngine:
    """The state: what waits, what runs, how much of the cache is held."""

    def __init__(
        self,
        cost: StepCost,
        *,
        max_num_seqs: int,
        max_batched_tokens: int,
        kv_tokens: int,
        decode_memory_boundness: float,
        prefill_memory_boundness: float,
    ) -> None:
        self.cost = cost
        self.max_num_seqs = max_num_seqs
        self.max_batched_tokens = max_batched_tokens
        self.kv_tokens = kv_tokens
        self.decode_memory_boundness = decode_memory_boundness
        self.prefill_memory_boundness = prefill_memory_boundness
        self.waiting: deque[SimulatedRequest] = deque()
        self.running: list[SimulatedRequest] = []
        self.counters = SimulatedCounters()
        self._kv_held = 0

    @property
    def kv_usage_ratio(self) -> float:
        """Share of the cache that is held."""
        return self._kv_held / self.kv_tokens

    def arrive(self, request: SimulatedRequest) -> None:
        """Queue a request; one that could never fit is cut to what fits, as a server limits a context's length."""
        limit = self.kv_tokens - self.max_num_seqs
        request.prompt = max(1, min(request.prompt, limit // 2))
        request.output = max(1, min(request.output, limit - request.prompt))
        request.cached = min(request.cached, request.prompt - 1)  # the last token is always computed
        request.computed, request.to_compute = request.cached, request.prompt
        self.waiting.append(request)

    def plan(self, max_repeats: int = 1) -> EngineStep | None:
        """The next step, None when there is nothing to do.

        Decode steps between which nothing changes may be joined, at most `max_repeats` of them: a caller that cannot act within
        a few ms asks for more.
        """
        self._make_room()
        self._admit()
        decodes = tuple(r for r in self.running if r.decoding)
        budget = self.max_batched_tokens - len(decodes)
        chunks: list[tuple[SimulatedRequest, int]] = []
        for request in self.running:
            if not request.decoding and budget > 0:
                tokens = min(request.to_compute - request.computed, budget)
                budget -= tokens
                chunks.append((request, tokens))
        if not decodes and not chunks:
            return None
        repeats = 1
        if not chunks:
            room = (self.kv_tokens - self._kv_held) // len(decodes)
            repeats = max(1, min(max_repeats, room, *(r.output - r.generated for r in decodes)))
        decode_s = self.cost.decode_s(len(decodes)) * repeats if decodes else 0.0
        prefill_s = self.cost.prefill_s(sum(tokens for _, tokens in chunks))
        total_s = decode_s + prefill_s
        decode_share = decode_s / total_s
        prefill_share = 1.0 - decode_share
        return EngineStep(
            reference_s=total_s,
            memory_boundness=decode_share * self.decode_memory_boundness + prefill_share * self.prefill_memory_boundness,
            intensity=decode_share * self.cost.decode_intensity(len(decodes)) + prefill_share,
            repeats=repeats,
            decodes=decodes,
            chunks=tuple(chunks),
        )

    def finish(self, step: EngineStep, end_ns: int) -> None:
        """Record a step that ended at `end_ns`."""
        counters = self.counters
        counters.steps += step.repeats
        counters.iterations.observe(len(step.decodes) + sum(tokens for _, tokens in step.chunks), step.repeats)
        if step.decodes:
            counters.generation += len(step.decodes) * step.repeats
            self._kv_held += len(step.decodes) * step.repeats
            # The time that a request stood still for a chunk of prompts is part of its latency; most have waited equally long.
            for since_ns, count in Counter(r.last_token_ns for r in step.decodes).items():
                counters.itl.observe((end_ns - since_ns) / NS_PER_S / step.repeats, step.repeats * count)
            for request in step.decodes:
                request.generated += step.repeats
                request.last_token_ns = end_ns
        for request, tokens in step.chunks:
            request.computed += tokens
            if request.decoding:
                self._first_token(request, end_ns)
        for request in [r for r in self.running if r.generated >= r.output]:
            self.running.remove(request)
            self._kv_held -= request.kv
            counters.finished += 1
            counters.prompts.observe(request.prompt)
            counters.computed_prompts.observe(request.prompt - request.cached)
            counters.outputs.observe(request.generated)
            counters.e2e.observe((end_ns - request.arrived_ns) / NS_PER_S)
            if request.generated > 1:
                counters.tpot.observe((end_ns - request.first_token_ns) / NS_PER_S / (request.generated - 1))

    def _first_token(self, request: SimulatedRequest, end_ns: int) -> None:
        if request.generated == 0:
            self.counters.prompt += request.prompt
            self.counters.cached += request.cached
            self.counters.ttft.observe((end_ns - request.arrived_ns) / NS_PER_S)
            request.first_token_ns = end_ns
        else:
            self.counters.itl.observe((end_ns - request.last_token_ns) / NS_PER_S)
        request.generated += 1
        request.last_token_ns = end_ns
        self.counters.generation += 1
        self._kv_held += 1

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.max_num_seqs:
            request = self.waiting[0]
            if self._kv_held + request.kv + len(self.running) + 1 > self.kv_tokens:
                return
            self.waiting.popleft()
            self.running.append(request)
            self._kv_held += request.kv

    def _make_room(self) -> None:
        """Preempt from the end until every running request can grow by one token."""
        while self.running and self._kv_held + len(self.running) > self.kv_tokens:
            request = self.running.pop()
            self._kv_held -= request.kv
            request.computed, request.to_compute = 0, request.prompt + request.generated
            self.waiting.appendleft(request)
            self.counters.preemptions += 1
