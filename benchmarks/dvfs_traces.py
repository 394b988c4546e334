"""Policy `slo` on public traces of LLM requests, against the best clock per minute in hindsight and the rules of others.

Azure LLM inference 2023 and both Mooncake traces at 1, 2 and 4 times their rate, under three assumptions of memory-boundness:
27 cases of Llama 3.1 8B on H100 SXM (docs/dvfs-test.md). Replicas are the fewest for which the default attains 99 %.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import dvfs_calibration, serving_rivals
from benchmarks.runner import Row
from dvfs import knees
from dvfs.policies.slo import SPEC
from dvfs.replay.serving import boards, models, replay, trace
from dvfs.replay.serving.fleet import RequestLimits
from dvfs.replay.serving.replay import ReplayCase
from dvfs.replay.serving.server import BOUNDNESS, server
from dvfs.types import Decision, DvfsPolicy, Observation
from energy_agent.core.errors import UsageError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TRACES = {
    "azure": Path("azure-llm-2023/AzureLLMInferenceTrace_conv.csv"),
    "conversation": Path("mooncake/conversation_trace_slim.csv"),
    "synthetic": Path("mooncake/synthetic_trace_slim.csv"),
}
LIMITS = RequestLimits(ttft_s=0.5, itl_s=0.05, ttft_tokens=2048, attainment_ratio=0.99)
POINTS, OF_HINDSIGHT = replay.POINTS_RATIO, 0.90


def played(job: Row) -> Row:
    """One case as a row of the result: each rule's saving, and the difference of its attainment to the default's in points."""
    whole = trace.read(job["data"] / TRACES[job["trace"]])
    requests = whole.cut(0.0, job["seconds"]).faster(job["rate"])
    gpu, table = boards.find(job["gpu"]), knees.load()
    one = server(gpu, models.find(job["model"]), boundness=BOUNDNESS[job["boundness"]])
    made = replay.ready(ReplayCase(one, LIMITS, requests, replay.knee_of(gpu, table)[0], seed=job["seed"]), lambda _: None)
    spent_s: list[float] = []
    rows = [replay.policy(made, "slo", timed(SPEC, spent_s), SPEC.configure({}, table), lambda _: None)]
    rows += [*replay.replay_fixed_clocks(made, lambda _: None), *serving_rivals.rivals(made, lambda _: None)]
    rows += [replay.best(made, lambda _: None)]
    saving = [made.saving_ratio(row) for row in rows]
    points = [(made.default.failed - row.failed) / made.default.requests for row in rows]
    best, attained = saving[-1], points[0] >= -POINTS
    return {
        "trace": job["trace"], "rate": job["rate"], "boundness": job["boundness"], "requests": len(requests),
        "replicas": made.replicas, "default_attainment": made.default.attainment, "default_j": made.default.energy_j,
        "of_hindsight": saving[0] / best if best > 0 else None, "decision_ms": 1e3 * sum(spent_s) / max(1, len(spent_s)),
        **{row.rule: [100 * saved, 100 * point] for row, saved, point in zip(rows, saving, points, strict=True)},
        "rule_kept": {row.rule: made.keeps(row) for row in rows}, "attainment_held": attained,
        "ok": attained and (best <= 0 or saving[0] >= OF_HINDSIGHT * best),
    }  # fmt: skip


def timed(policy: DvfsPolicy, spent_s: list[float]) -> DvfsPolicy:
    """The policy, with the CPU time of each decision."""

    def decide(observation: Observation, state: Any, config: Any) -> tuple[Decision, Any]:
        begun_s = time.process_time()
        try:
            return policy.decide(observation, state, config)
        finally:
            spent_s.append(time.process_time() - begun_s)

    return replace(policy, decide=decide)


def run(
    data: Path = DATA,
    trace: tuple[str, ...] = tuple(TRACES),
    rate: tuple[float, ...] = (1.0, 2.0, 4.0),
    boundness: tuple[str, ...] = ("low", "mid", "high"),
    gpu: str = "h100-sxm",
    model: str = "llama-8b",
    seconds: float | None = None,
    seed: int = 0,
    jobs: int = 1,
    fit: bool = False,
) -> Iterator[Row]:
    """Cases of these traces, rates and assumptions, from --data; or with --fit the server's model against the leaderboard."""
    if fit:
        yield from dvfs_calibration.fit(data)
        return
    for name in trace:
        if not (data / TRACES[name]).is_file():
            raise UsageError(
                f"{data / TRACES[name]} is not there: get the trace from Azure/AzurePublicDataset (CC-BY-4.0) or "
                "kvcache-ai/Mooncake (Apache-2.0), and name its folder with --data"
            )
    common = {"data": data, "gpu": gpu, "model": model, "seconds": seconds, "seed": seed}
    cases = [common | {"trace": t, "boundness": b, "rate": r} for t in trace for b in boundness for r in rate]
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(played, cases)
