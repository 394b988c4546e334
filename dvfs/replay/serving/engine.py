"""One replica with continuous batching and chunked prefill, as a pure event machine: requests in, time and joules out.

Scheduling follows vLLM's V1 engine in outline: running sequences first, then waiting requests in order of arrival, within a
budget of tokens a step, a number of sequences and the room for keys and values; when these no longer fit, the request that came
last is preempted and computed again. Equal decode steps between two events are joined, which changes no result: how far one is
asked to go at a time does not matter.

With speculative decoding every sequence advances by the mean number of tokens per step. The server may change during the run:
assign `server`.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import ceil, sqrt

from dvfs.replay.serving.spec import EngineSpec, Rates
from energy_agent.core.workloads.tokens import Latencies

# vLLM's buckets in s.
TTFT_EDGES = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
ITL_EDGES = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_SAME_TOKENS = 1e-6  # rounding errors of mean tokens per step, which are no whole numbers


@dataclass(frozen=True, slots=True)
class Stream:
    """The requests of one replica, in order of arrival; limits in s. They fit its memory."""

    arrive_s: tuple[float, ...]
    prompt: tuple[int, ...]
    output: tuple[int, ...]
    ttft_limit_s: tuple[float, ...]
    itl_limit_s: float

    def __len__(self) -> int:
        return len(self.arrive_s)


@dataclass(slots=True)
class OpenStream:
    """A stream to which requests are added while it runs, in order of arrival.

    Args:
        prefilled: whether another pool computed the prompts, so that they cost this one nothing.
        first_s: in that case, when the first token left the other pool.
    """

    itl_limit_s: float = float("inf")
    prefilled: bool = False
    arrive_s: list[float] = field(default_factory=list)
    prompt: list[int] = field(default_factory=list)
    output: list[int] = field(default_factory=list)
    ttft_limit_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.arrive_s)

    def push(self, arrive_s: float, prompt: int, output: int, first_s: float | None = None) -> None:
        """Add a request; `first_s` with `prefilled`."""
        self.arrive_s.append(arrive_s)
        self.prompt.append(prompt)
        self.output.append(output)
        self.ttft_limit_s.append(float("inf"))
        if first_s is not None:
            self.first_s.append(first_s)


class ReplicaCounters:
    """Cumulative counters as on a metrics endpoint; kept only where a policy reads them.

    Args:
        ttft_edges, itl_edges: upper bucket edges in s.
        gap_per_token: whether a step that brings several tokens counts as one gap per token, as in SGLang; otherwise it is one
            gap, as in vLLM.
    """

    __slots__ = (
        "accepted", "busy_s", "drafts", "gap_per_token", "itl_counts", "itl_edges", "itl_sum_s", "prompt_tokens", "requests",
        "steps", "tokens", "ttft_counts", "ttft_edges", "ttft_sum_s",
    )  # fmt: skip

    def __init__(
        self,
        ttft_edges: Sequence[float] = TTFT_EDGES,
        itl_edges: Sequence[float] = ITL_EDGES,
        *,
        gap_per_token: bool = False,
    ) -> None:
        self.ttft_edges, self.itl_edges, self.gap_per_token = ttft_edges, itl_edges, gap_per_token
        self.tokens: float = 0
        self.accepted: float = 0
        self.prompt_tokens = self.drafts = self.steps = self.requests = 0
        self.ttft_counts = [0] * (len(ttft_edges) + 1)
        self.itl_counts: list[float] = [0] * (len(itl_edges) + 1)
        self.ttft_sum_s = self.itl_sum_s = self.busy_s = 0.0

    def latencies(self) -> tuple[Latencies, Latencies]:
        """Time to first token and time between tokens, as an agent reads them: counts are whole."""
        itl = tuple(round(count) for count in self.itl_counts)
        return (
            Latencies(tuple(self.ttft_edges), tuple(self.ttft_counts), self.ttft_sum_s),
            Latencies(tuple(self.itl_edges), itl, self.itl_sum_s),
        )


class Replica:
    """State of one replica at `now_s`, which is always the end of a step. `copy` is cheap.

    While `is_open`, requests may still be added to its stream, and `run` lets time pass without any. `log` gets (index in the
    stream, time to first token, mean time between tokens) of each request that ends.
    """

    __slots__ = (
        "_batch", "_computed", "_heap", "_kept", "_next", "_part", "_resumed", "_round", "_since", "_total",
        "_waiting", "ended", "energy_j", "failed", "held_tokens", "is_open", "late_first", "late_next", "log", "mhz", "now_s",
        "server", "stream",
    )  # fmt: skip

    def __init__(self, server: EngineSpec, stream: Stream | OpenStream) -> None:
        self.server, self.stream = server, stream
        self.is_open = False
        self.log: list[tuple[int, float, float]] | None = None
        self.now_s = self.energy_j = 0.0
        self.ended = self.failed = 0  # requests that ended, and those of them that missed a limit
        self.late_first = self.late_next = 0  # of those, by limit: first token, mean time between tokens
        self.mhz = 0.0  # of the last kernel
        self._next = 0  # request that arrives next
        self._waiting: deque[int] = deque()
        self._part, self._computed, self._total = -1, 0, 0  # the request whose prompt is computed in part; -1: none
        self._batch = 0  # sequences that decode
        self._kept: float = 0  # tokens that they keep
        self.held_tokens: float = 0  # tokens whose keys and values have their room taken
        self._round: float = 0  # tokens that a sequence present from the start would have
        self._heap: list[tuple[float, int]] = []  # (round in which it ends, request)
        self._since: dict[int, float] = {}  # first token of those that decode, in order of admission
        self._resumed: dict[
            int, tuple[float, float, float]
        ] = {}  # preempted: tokens it had, its first token, when it lost them

    def copy(self) -> "Replica":
        """Another one in the same state."""
        other = Replica.__new__(Replica)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other._waiting, other._heap = self._waiting.copy(), self._heap.copy()
        other._since, other._resumed = self._since.copy(), self._resumed.copy()
        return other

    @property
    def running(self) -> int:
        """Requests in the batch, those whose prompt is being computed included."""
        return self._batch + (self._part >= 0)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        arrived, n = self._next, len(self.stream)
        while arrived < n and self.stream.arrive_s[arrived] <= self.now_s:
            arrived += 1
        return len(self._waiting) + arrived - self._next

    @property
    def is_done(self) -> bool:
        """Whether every request has ended."""
        return self.ended == len(self.stream)

    def wait(self, until_s: float, rates: Rates) -> None:
        """Let time pass after the last request."""
        self.energy_j += max(0.0, until_s - self.now_s) * rates.held_w
        self.now_s = max(self.now_s, until_s)

    def run(self, until_s: float, rates: Rates, counters: ReplicaCounters | None = None) -> None:
        """Start every step that begins before `until_s`; the last one may end after it. Stops when every request has ended."""
        server, stream = self.server, self.stream
        arrive, n = stream.arrive_s, len(stream)
        stretch, watts, held_w = rates.decode_stretch, rates.decode_w, rates.held_w
        host_step, host_sequence = server.host_step_s, server.host_sequence_s
        depth, gain = server.draft_tokens, server.tokens_per_step
        weights, sequence = server.weights_s + depth * server.draft_s, server.sequence_s * (1 + depth)
        kv, capacity, waiting, heap = server.kv_s, server.kv_tokens, self._waiting, self._heap
        now = self.now_s
        while now < until_s and (self.ended < n or self.is_open):
            while self._next < n and arrive[self._next] <= now:
                waiting.append(self._next)
                self._next += 1
            batch = self._batch
            if batch and self.held_tokens + batch * gain + (self._part >= 0) > capacity:
                self._make_room(now)
                batch = self._batch
            chunks = self._chunks() if self._part >= 0 or waiting else None
            if chunks is not None:
                first, prefill_s, count = chunks
                host = host_step + host_sequence * (batch + count)
                decode = (weights + sequence * batch + kv * self._kept) * stretch[batch]
                prefill = prefill_s * rates.prefill_stretch
                took, repeats = host + decode + prefill, 1
                self.energy_j += host * held_w + decode * watts[batch] + prefill * rates.prefill_w
                self.mhz = rates.prefill_mhz if prefill > decode else rates.decode_mhz[batch]
            elif batch:
                first = ()
                factor = stretch[batch]
                host = host_step + host_sequence * batch
                # The j-th of the steps takes base + grow * j, since each adds tokens that are kept.
                grow = kv * batch * gain * factor
                base = host + (weights + sequence * batch + kv * self._kept) * factor
                horizon = (min(until_s, arrive[self._next]) if self._next < n else until_s) - now
                repeats = ceil((heap[0][0] - self._round) / gain - 1e-9)
                if repeats > 1:
                    repeats = min(repeats, max(1, int((capacity - self.held_tokens) // (batch * gain))))
                    if repeats > 1 and repeats * base > horizon:
                        linear = base - grow / 2
                        repeats = max(
                            1, min(repeats, ceil(2 * horizon / (linear + sqrt(linear * linear + 2 * grow * horizon)) - 1e-9))
                        )
                took = repeats * (base + grow * (repeats - 1) / 2)
                host *= repeats
                self.energy_j += host * held_w + (took - host) * watts[batch]
                self.mhz = rates.decode_mhz[batch]
            else:
                end = min(until_s, arrive[self._next]) if self._next < n else until_s
                self.energy_j += (end - now) * held_w
                now = end
                continue
            now += took
            if counters is not None:
                counters.busy_s += took - host
                counters.steps += repeats
            if batch:
                gained = gain * repeats
                self._round += gained
                self._kept += batch * gained
                self.held_tokens += batch * gained
                if counters is not None:
                    counters.tokens += batch * gained
                    if depth:
                        counters.drafts += batch * depth * repeats
                        counters.accepted += batch * (gained - repeats)
                    if counters.gap_per_token:
                        counters.itl_counts[bisect_left(counters.itl_edges, took / gained)] += batch * gained
                    else:
                        counters.itl_counts[bisect_left(counters.itl_edges, took / repeats)] += batch * repeats
                    counters.itl_sum_s += took * batch
                while heap and heap[0][0] <= self._round + _SAME_TOKENS:
                    ends, request = heappop(heap)
                    self._end(request, now, self._round - ends, counters)
            for request in first:
                self._first_token(request, now, counters)
        self.now_s = now

    def _chunks(self) -> tuple[Sequence[int], float, int] | None:
        """Prompts of the next step: those that it completes, time at the highest clock, how many take part; None: no prompt."""
        server, stream = self.server, self.stream
        prefilled = isinstance(stream, OpenStream) and stream.prefilled
        budget = server.max_batched_tokens - self._batch * (1 + server.draft_tokens)
        room = server.max_num_seqs - self._batch
        first: list[int] = []
        seconds, count = 0.0, 0
        while budget > 0:
            if self._part < 0:
                if not self._waiting or count >= room:
                    break
                request = self._waiting[0]
                resumed = self._resumed.get(request)
                total = stream.prompt[request] + (int(resumed[0]) if resumed else 0)
                if self.held_tokens + total + self._batch + count + 1 > server.kv_tokens:
                    break
                self._waiting.popleft()
                self.held_tokens += total
                self._part, self._computed, self._total = request, 0, total
            if prefilled and self._part not in self._resumed:
                first.append(self._part)
                self._part = -1
                count += 1
                continue
            tokens = min(self._total - self._computed, budget)
            seconds += tokens * (server.prefill_s + server.attention_s * (self._computed + tokens / 2))
            budget -= tokens
            self._computed += tokens
            count += 1
            if self._computed == self._total:
                first.append(self._part)
                self._part = -1
        return (first, seconds, count) if count else None

    def _first_token(self, request: int, now: float, counters: ReplicaCounters | None) -> None:
        stream = self.stream
        resumed = self._resumed.pop(request, None)
        prompt, output = stream.prompt[request], stream.output[request]
        generated = (resumed[0] if resumed else 0) + 1
        self._since[request] = resumed[1] if resumed else now
        self.held_tokens += 1 + (resumed[0] - int(resumed[0]) if resumed else 0)
        self._batch += 1
        self._kept += prompt + generated
        if counters is not None:
            counters.tokens += 1
            if resumed:
                gap = now - resumed[2]
                counters.itl_counts[bisect_left(counters.itl_edges, gap)] += 1
                counters.itl_sum_s += gap
            else:
                took = now - stream.arrive_s[request]
                counters.prompt_tokens += prompt
                counters.ttft_counts[bisect_left(counters.ttft_edges, took)] += 1
                counters.ttft_sum_s += took
        if generated >= output - _SAME_TOKENS:
            self._end(request, now, generated - output, counters)
        else:
            heappush(self._heap, (self._round + output - generated, request))

    def _end(self, request: int, now: float, over: float, counters: ReplicaCounters | None) -> None:
        """End a request that the last step brought `over` more tokens than it wanted."""
        stream = self.stream
        first_s = self._since.pop(request)
        prompt, output = stream.prompt[request], stream.output[request]
        self._batch -= 1
        self._kept -= prompt + output + over
        self.held_tokens -= prompt + output + over
        self.ended += 1
        if counters is not None:
            counters.requests += 1
            counters.tokens -= over
        gaps = output - 1
        if isinstance(stream, OpenStream) and stream.prefilled:
            first_s, gaps = stream.first_s[request], output
        if self.log is not None:
            self.log.append((request, first_s - stream.arrive_s[request], (now - first_s) / gaps if gaps else 0.0))
        late = first_s - stream.arrive_s[request] > stream.ttft_limit_s[request]
        slow = now - first_s > stream.itl_limit_s * gaps + 1e-12
        self.late_first += late
        self.late_next += slow
        self.failed += late or slow

    def _make_room(self, now: float) -> None:
        """Preempt from the end until every sequence, and a prompt that is computed in part, can grow by one token."""
        gain = self.server.tokens_per_step
        while self._batch and self.held_tokens + self._batch * gain + (self._part >= 0) > self.server.kv_tokens:
            if self._part >= 0:
                self._waiting.appendleft(self._part)
                self.held_tokens -= self._total
                self._part = -1
                continue
            request = next(reversed(self._since))
            began = self._since.pop(request)
            ends = next(at for at, one in self._heap if one == request)
            self._heap[:] = [pair for pair in self._heap if pair[1] != request]
            heapify(self._heap)
            generated = self.stream.output[request] - (ends - self._round)
            self._resumed[request] = (round(generated, 6), began, now)
            self._waiting.appendleft(request)
            self._batch -= 1
            self._kept -= self.stream.prompt[request] + generated
            self.held_tokens -= self.stream.prompt[request] + generated
