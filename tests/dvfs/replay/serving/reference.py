"""A second engine, written from the rules alone and as simply as can be: one step at a time, plain lists, no joined steps."""

from dataclasses import dataclass, field

from dvfs.replay.serving.engine import Stream
from dvfs.replay.serving.server import ReplicaSpec
from dvfs.replay.serving.spec import Rates

Schedule = list[tuple[float, Rates]]
"""(until, rates): rates apply to steps that begin before `until`; the last entry has no end."""


@dataclass
class Request:
    number: int
    prompt: int
    output: int
    had: float = 0  # tokens generated
    computed: int = 0  # of what has to be computed before the next token
    first_s: float | None = None
    end_s: float | None = None
    preempted: int = 0

    @property
    def to_compute(self) -> int:
        return self.prompt + int(self.had)


@dataclass
class Reference:
    server: ReplicaSpec
    stream: Stream
    now_s: float = 0.0
    energy_j: float = 0.0
    most_held: int = 0
    requests: list[Request] = field(default_factory=list)

    def run(self, schedule: Schedule) -> "Reference":
        server, stream, depth, gain = self.server, self.stream, self.server.draft_tokens, self.server.tokens_per_step
        self.requests = [Request(i, p, o) for i, (p, o) in enumerate(zip(stream.prompt, stream.output, strict=True))]
        coming, waiting, decoding = list(self.requests), [], []
        part: Request | None = None
        while any(r.end_s is None for r in self.requests):
            while coming and stream.arrive_s[coming[0].number] <= self.now_s:
                waiting.append(coming.pop(0))
            until, rates = next(pair for pair in schedule if self.now_s < pair[0])
            # Room: who decodes needs a step's tokens, who is about to one; the last one loses its place.
            while decoding and self._held_tokens(decoding, part) + len(decoding) * gain + (part is not None) > server.kv_tokens:
                loser = part or decoding[-1]
                if part is not None:
                    part = None
                else:
                    decoding.pop()
                    loser.preempted += 1
                loser.computed = 0
                waiting.insert(0, loser)
            done, seconds, count, part = self._prompts(decoding, waiting, part)
            if not decoding and not count:
                end = min([until, *(stream.arrive_s[r.number] for r in coming[:1])])
                self.energy_j += (end - self.now_s) * rates.held_w
                self.now_s = end
                continue
            batch = len(decoding)
            kept = sum(r.prompt + r.had for r in decoding)
            host = server.host_step_s + server.host_sequence_s * (batch + count)
            weights, sequences = server.weights_s + depth * server.draft_s, batch * (1 + depth)
            decode = (weights + server.sequence_s * sequences + server.kv_s * kept) * rates.decode_stretch[batch]
            prefill = seconds * rates.prefill_stretch
            self.now_s += host + decode + prefill
            self.energy_j += host * rates.held_w + decode * rates.decode_w[batch] + prefill * rates.prefill_w
            for request in list(decoding):
                self._token(request, decoding, gain)
            for request in done:
                decoding.append(request)
                request.computed = 0
                if request.first_s is None:
                    request.first_s = self.now_s
                self._token(request, decoding, 1)
            self.most_held = max(self.most_held, self._held_tokens(decoding, part))
        return self

    def _token(self, request: Request, decoding: list[Request], gain: float) -> None:
        request.had += gain
        if request.had >= request.output - 1e-6:
            request.end_s = self.now_s
            decoding.remove(request)

    def _held_tokens(self, decoding: list[Request], part: Request | None) -> float:
        return sum(r.prompt + r.had for r in decoding) + (part.to_compute if part else 0)

    def _prompts(
        self, decoding: list[Request], waiting: list[Request], part: Request | None
    ) -> tuple[list[Request], float, int, Request | None]:
        """Prompts that the next step completes, their time at the highest clock, how many take part, whose is left in part."""
        server = self.server
        budget = server.max_batched_tokens - len(decoding) * (1 + server.draft_tokens)
        done: list[Request] = []
        seconds, count = 0.0, 0
        while budget > 0:
            if part is None:
                if not waiting or len(decoding) + count >= server.max_num_seqs:
                    break
                held = self._held_tokens(decoding, None) + sum(r.to_compute for r in done)
                if held + waiting[0].to_compute + len(decoding) + count + 1 > server.kv_tokens:
                    break
                part = waiting.pop(0)
            tokens = min(budget, part.to_compute - part.computed)
            seconds += sum(server.prefill_s + server.attention_s * (part.computed + k + 0.5) for k in range(tokens))
            part.computed += tokens
            budget -= tokens
            count += 1
            if part.computed == part.to_compute:
                done.append(part)
                part = None
        return done, seconds, count, part

    @property
    def failed(self) -> int:
        return sum(self._failed(r) for r in self.requests)

    def _failed(self, request: Request) -> bool:
        assert request.first_s is not None
        assert request.end_s is not None
        late = request.first_s - self.stream.arrive_s[request.number] > self.stream.ttft_limit_s[request.number]
        return late or request.end_s - request.first_s > self.stream.itl_limit_s * (request.output - 1) + 1e-12
