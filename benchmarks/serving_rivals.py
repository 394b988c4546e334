"""Published rules for a serving fleet, compared with ours in benchmarks.dvfs_traces. Pure.

Each gets the inputs that its authors use, and exact values of them: the tables of latencies that the authors measure beforehand
are the model's own figures here.
"""

from collections.abc import Callable, Sequence

from dvfs.replay.serving.boards import GpuPowerModel
from dvfs.replay.serving.fleet import RequestLimits
from dvfs.replay.serving.replay import PreparedCase, RuleResult, Say, steered
from dvfs.replay.serving.server import ReplicaSpec
from dvfs.replay.serving.spec import Rates
from dvfs.replay.serving.steered import ReplicaPolicy
from dvfs.types import Observation

SILENT_NS = 5_000_000_000


def rivals(made: PreparedCase, say: Say) -> list[RuleResult]:
    """EcoFreq's rule and GEOPM's formula on a fixture."""
    case, server = made.case, made.case.server
    return [
        steered(made, "EcoFreq", ecofreq(server, case.slo, made.grid), say),
        steered(made, "GEOPM", geopm(server.gpu, case.knee_mhz), say),
    ]


def ecofreq(server: ReplicaSpec, slo: RequestLimits, grid: Sequence[Rates]) -> Callable[[], ReplicaPolicy]:
    """EcoFreq of VoltanaLLM (arXiv 2509.04827; its freq_manager.py at commit 2741732, Apache-2.0).

    Requests wait: the highest clock. No metrics for 5 s: the lowest. Otherwise the lowest clock whose predicted latency
    is within the limit, less the time that requests have waited, or the highest if none is. Its thresholds on tokens and
    requests per second are off, which is their default.

    EcoFreq is written for servers that separate prefill and decode, with one prediction each. Here both have to hold: the
    decode step of the current batch, and the first token of a mean prompt together with that batch. Where the prediction is
    used no request waits, so the time waited is 0. The original decides in each iteration, this one once per second.
    """
    by_clock = sorted(grid, key=lambda rates: rates.lock_mhz)

    def make() -> ReplicaPolicy:
        silent_since_ns: int | None = None
        lock: int | None = None

        def steer(observation: Observation, _busy_ratio: float) -> int | None:
            nonlocal silent_since_ns, lock
            progress = observation.progress
            if progress is None or not (progress.running or progress.queue):
                silent_since_ns = observation.boot_ns if silent_since_ns is None else silent_since_ns
                if observation.boot_ns - silent_since_ns > SILENT_NS:
                    lock = by_clock[0].lock_mhz
                return lock
            silent_since_ns = None
            if progress.queue:
                lock = None
                return lock
            begun = max(1, progress.ttft.count if progress.ttft is not None else 0)
            prompt = (progress.prompt_tokens or 0) / begun
            batch = min(progress.running or 1, server.max_num_seqs)
            kept = batch * (prompt + (progress.tokens or 0) / begun / 2)
            lock = next((r.lock_mhz for r in by_clock[:-1] if _within(server, slo, r, batch, kept, prompt)), None)
            return lock

        return steer

    return make


def _within(server: ReplicaSpec, slo: RequestLimits, rates: Rates, batch: int, kept: float, prompt: float) -> bool:
    host_s = server.host_step_s + server.host_sequence_s * batch
    step_s = host_s + server.decode_s(batch, kept) * rates.decode_stretch[batch]
    steps = max(1.0, -(-prompt // max(1, server.max_batched_tokens - batch)))
    first_s = server.prompt_s(round(prompt)) * rates.prefill_stretch + steps * step_s
    return step_s <= slo.itl_s and first_s <= slo.ttft_limit_s(round(prompt))


def geopm(gpu: GpuPowerModel, knee_mhz: int) -> Callable[[], ReplicaPolicy]:
    """GEOPM's gpu_activity agent (libgeopm/src/GPUActivityAgent.cpp at commit 03bbac2, BSD-3) at its default phi of 0.5.

        f = f_efficient + (f_max - f_efficient) * activity / utilisation,  and f_efficient where no kernel ran

    f_efficient is the knee. `activity` (SM_ACTIVE) is the share of time in which a kernel ran, as one of an LLM fills all SMs;
    `utilisation` is 1 as soon as any did, as NVML's counter reads across the gaps of milliseconds between steps [assumed].
    Were it the same share, f would be f_max whenever anything runs. It acts each 20 ms there, each second here.
    """
    step = gpu.f_step_mhz

    def make() -> ReplicaPolicy:
        def steer(_seen: Observation, busy_ratio: float) -> int:
            wanted = knee_mhz + (gpu.f_max_mhz - knee_mhz) * min(1.0, max(0.0, busy_ratio))
            return round(wanted / step) * step

        return steer

    return make
