"""A fleet of equal replicas behind a dispatcher: request streams, attainment, and the required number of replicas.

The dispatcher gives a request to the replica with the least prefill ahead of it, as it reckons from the lengths of prompts
without a lock; among equals to the one that was given the fewest. What really happens on the replicas it does not look at: so
who gets a request does not depend on clocks, and policies and oracles are judged on the very same streams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dvfs.replay.serving.engine import Replica, Stream
from dvfs.replay.serving.server import ReplicaSpec
from dvfs.replay.serving.spec import Rates
from dvfs.replay.serving.trace import Trace
from energy_agent.core.errors import UsageError

REPLICAS_LIMIT = 256


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of a request: it attains them if its first token comes in time and its mean time between tokens is within.

    Args:
        ttft_s: for every prompt.
        itl_s: of the mean over a request.
        ttft_tokens: where given, the limit of longer prompts grows in proportion to them, as their prefill does.
        attainment_ratio: share of requests for which the default has to attain both, with as few replicas as possible.
    """

    ttft_s: float
    itl_s: float
    ttft_tokens: int | None = None
    attainment_ratio: float = 0.99

    def ttft_limit_s(self, prompt: int) -> float:
        """The limit for a prompt."""
        return self.ttft_s if self.ttft_tokens is None else self.ttft_s * max(1.0, prompt / self.ttft_tokens)


@dataclass(frozen=True, slots=True)
class FleetOutcome:
    """Result of a fleet: energy until the last request ended, requests, and those that missed a limit: any, and each."""

    energy_j: float
    requests: int
    failed: int
    seconds: float
    late_first: int = 0
    late_next: int = 0

    @property
    def attainment(self) -> float:
        """Share of requests within the limits."""
        return 1.0 - self.failed / self.requests


def streams(trace: Trace, replicas: int, server: ReplicaSpec, slo: RequestLimits) -> list[Stream]:
    """The trace dealt out to replicas. A request that none could hold is cut to what fits, as a server limits contexts."""
    limit = server.kv_tokens - server.max_num_seqs - 1
    free_s = [0.0] * replicas  # when each has computed the prompts that it was given
    default = server.rates(None)
    step_s = server.host_step_s + server.weights_s * default.decode_stretch[0]
    dealt: list[list[tuple[float, int, int]]] = [[] for _ in range(replicas)]
    for at, long, answer in zip(trace.arrive_s, trace.prompt, trace.output, strict=True):
        prompt = max(1, min(long, limit // 2))
        to = min(range(replicas), key=lambda r: (max(at, free_s[r]), len(dealt[r]), r))
        chunks = -(-prompt // server.max_batched_tokens)
        free_s[to] = max(at, free_s[to]) + server.prompt_s(prompt) * default.prefill_stretch + chunks * step_s
        dealt[to].append((at, prompt, max(1, min(answer, limit - prompt))))
    return [
        Stream(
            tuple(r[0] for r in rows),
            tuple(r[1] for r in rows),
            tuple(r[2] for r in rows),
            tuple(slo.ttft_limit_s(r[1]) for r in rows),
            slo.itl_s,
        )
        for rows in dealt
    ]


def closed(replicas: Sequence[Replica], last: Sequence[Rates]) -> FleetOutcome:
    """The outcome once every replica is done; those that ended earlier wait for the last one at their last clock."""
    end = max(r.now_s for r in replicas)
    for replica, rates in zip(replicas, last, strict=True):
        replica.wait(end, rates)
    return FleetOutcome(
        sum(r.energy_j for r in replicas),
        sum(len(r.stream) for r in replicas),
        sum(r.failed for r in replicas),
        end,
        sum(r.late_first for r in replicas),
        sum(r.late_next for r in replicas),
    )


def fixed(server: ReplicaSpec, dealt: Sequence[Stream], rates: Rates) -> FleetOutcome:
    """Every replica at one clock, all the time."""
    replicas = [Replica(server, stream) for stream in dealt]
    for replica in replicas:
        replica.run(float("inf"), rates)
    return closed(replicas, [rates] * len(replicas))


def fewest_replicas(
    server: ReplicaSpec, trace: Trace, slo: RequestLimits, progress: Callable[[str], None] = lambda text: None
) -> tuple[int, FleetOutcome]:
    """The fewest replicas for which the default, no lock, attains what the SLO demands; and what it then does.

    Raises:
        UsageError: even an idle replica is too slow, or no number up to 256 is enough; says what is lacking.
    """
    rates = server.rates(None)
    fastest = server.host_step_s + server.host_sequence_s + server.decode_s(1, 512) * rates.decode_stretch[1]
    if fastest > slo.itl_s:
        raise UsageError(
            f"{server.model.key} on {server.gpus} x {server.gpu.key} takes {1e3 * fastest:.0f} ms between tokens even "
            f"with one request, so --itl-ms {1e3 * slo.itl_s:g} is too low: raise it, add --gpus, or use --engine lean"
        )
    most = min(REPLICAS_LIMIT, len(trace))

    def outcome_of(replicas: int) -> FleetOutcome:
        progress(f"is {replicas} enough?")
        return fixed(server, streams(trace, replicas, server, slo), rates)

    low, high = 0, 1
    outcome = outcome_of(high)
    while outcome.attainment < slo.attainment_ratio:  # double until enough, then halve the gap: more attain more but for chance
        if high >= most:
            raise UsageError(
                f"{high} replicas keep {100 * outcome.attainment:.1f} % of the requests within the limits, expected "
                f"{100 * slo.attainment_ratio:g} %: the limits are too tight for {server.model.key} on {server.gpus} x "
                f"{server.gpu.key}; raise --ttft-ms or --itl-ms, add --gpus, or set --replicas"
            )
        low, high = high, min(2 * high, most)
        outcome = outcome_of(high)
    while high - low > 1:
        middle = (low + high) // 2
        attempt = outcome_of(middle)
        if attempt.attainment >= slo.attainment_ratio:
            high, outcome = middle, attempt
        else:
            low = middle
    return high, outcome
