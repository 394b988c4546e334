"""Policy `slo` on public traces of LLM requests, against the best clock per minute in hindsight and the rules of others.

Azure LLM inference 2023 and both Mooncake traces at 1, 2 and 4 times their rate, under three assumptions of memory-boundness:
27 cases of Llama 3.1 8B on H100 SXM (docs/dvfs-serving.md). Replicas are the fewest for which the default attains 99 %.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import dvfs_calibration, dvfs_traces_cache, serving_rivals
from dvfs import knees
from dvfs.policies.slo import SPEC
from dvfs.replay.serving import boards, models, replay, trace
from dvfs.replay.serving.fleet import Slo
from dvfs.replay.serving.replay import Case, Row
from dvfs.replay.serving.server import BOUNDNESS, server
from dvfs.types import Decision, Observation, Policy
from energy_agent.core.errors import UsageError
from wattlens.terminal_line import drawn_line

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TRACES = {
    "azure": Path("azure-llm-2023/AzureLLMInferenceTrace_conv.csv"),
    "conversation": Path("mooncake/conversation_trace_slim.csv"),
    "synthetic": Path("mooncake/synthetic_trace_slim.csv"),
}
RATES = (1.0, 2.0, 4.0)
LIMITS = Slo(ttft_s=0.5, itl_s=0.05, ttft_tokens=2048, attainment_ratio=0.99)
POINTS, OF_HINDSIGHT = replay.POINTS_RATIO, 0.90
QUICK_S = 600.0


@dataclass(frozen=True, slots=True)
class Job:
    """One case, and where it keeps what it computed."""

    data: Path
    name: str
    rate: float
    boundness: str
    seconds: float | None
    seed: int
    cache: Path | None
    gpu: str = "h100-sxm"
    model: str = "llama-8b"


def played(job: Job, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """One case as a row of the result."""
    whole = trace.read(job.data / TRACES[job.name])
    requests = whole.cut(0.0, job.seconds).faster(job.rate)
    board, table = boards.find(job.gpu), knees.load()
    one = server(board, models.find(job.model), boundness=BOUNDNESS[job.boundness])
    case = Case(one, LIMITS, requests, replay.knee_of(board, table)[0], seed=job.seed)
    known = dvfs_traces_cache.read(job.cache, case)
    if known is None:
        made = replay.ready(case, say)
        rivals = [*replay.others(made, say), *serving_rivals.rivals(made, say), replay.best(made, say)]
        dvfs_traces_cache.write(job.cache, case, made.replicas, rivals)
    else:
        replicas, rivals = known
        made = replay.ready(Case(one, LIMITS, requests, case.knee_mhz, replicas, seed=job.seed), say)
    config = SPEC.configure({}, table)
    spent_s: list[float] = []
    rows = [replay.policy(made, "slo", timed(SPEC, spent_s), config, say), *rivals]

    def told(row: Row) -> dict[str, Any]:
        return {
            "saving_ratio": made.saving_ratio(row),
            "difference_ratio": (made.default.failed - row.failed) / made.default.requests,
            "within_rule": made.keeps(row),
            "changes": row.changes,
            "note": row.note,
        }

    ours, best = made.saving_ratio(rows[0]), made.saving_ratio(rows[-1])
    difference = (made.default.failed - rows[0].failed) / made.default.requests
    return {
        "trace": job.name,
        "rate": job.rate,
        "boundness": job.boundness,
        "requests": len(requests),
        "replicas": made.replicas,
        "default_attainment_ratio": made.default.attainment,
        "default_energy_j": made.default.energy_j,
        "rules": {row.rule: told(row) for row in rows},
        "of_hindsight_ratio": ours / best if best > 0 else None,
        "decision_ms": 1e3 * sum(spent_s) / max(1, len(spent_s)),
        "attainment_held": difference >= -POINTS,
        "saving_held": best <= 0 or ours >= OF_HINDSIGHT * best,
    }


def timed(policy: Policy, spent_s: list[float]) -> Policy:
    """The policy, with the CPU time of each decision."""

    def decide(observation: Observation, state: Any, config: Any) -> tuple[Decision, Any]:
        begun_s = time.process_time()
        try:
            return policy.decide(observation, state, config)
        finally:
            spent_s.append(time.process_time() - begun_s)

    return replace(policy, decide=decide)


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 where a bar is missed, 2 where the data is not there."""
    args = _parser().parse_args(arguments)
    try:
        if args.fit:
            return _fit(args)
        for name in args.trace or TRACES:
            if not (args.data / TRACES[name]).is_file():
                raise UsageError(
                    f"{args.data / TRACES[name]} is not there: get the trace from Azure/AzurePublicDataset (CC-BY-4.0) or "
                    "kvcache-ai/Mooncake (Apache-2.0), and name its folder with --data"
                )
        return _run(args)
    except UsageError as error:
        print(f"dvfs_traces: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ten minutes of each trace at twice the rate, mid boundness alone")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="folder of the traces and the leaderboard")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep what our policy does not change, by a hash of its inputs"
    )
    parser.add_argument("--trace", choices=TRACES, action="append", help="only this one; may be repeated")
    parser.add_argument("--rate", type=float, action="append", help="only this one; may be repeated")
    parser.add_argument("--boundness", choices=BOUNDNESS, action="append", help="only this one; may be repeated")
    parser.add_argument("--gpu", default="h100-sxm", help="board (default h100-sxm), as dvfs replay has it")
    parser.add_argument("--model", default="llama-8b", help="model (default llama-8b), as dvfs replay has it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="cases side by side (default 1)")
    parser.add_argument("--fit", action="store_true", help="fit the host times of models.json anew, and tell how near they are")
    parser.add_argument("--json", action="store_true")
    return parser


def _fit(args: argparse.Namespace) -> int:
    found = dvfs_calibration.fit(args.data)
    ok = all(one.same for one in found)
    if args.json:
        print(json.dumps({"ok": ok, "fits": [dvfs_calibration.as_json(one) for one in found]}, indent=2))
    else:
        print("\n".join(dvfs_calibration.told(found)))
        print("models.json has what the fit finds" if ok else "models.json differs from the fit")
    return 0 if ok else 1


def _run(args: argparse.Namespace) -> int:
    rates = args.rate or ((2.0,) if args.quick else RATES)
    words = args.boundness or (("mid",) if args.quick else ("low", "mid", "high"))
    seconds = QUICK_S if args.quick else None
    jobs = [
        Job(args.data, name, rate, word, seconds, args.seed, args.cache, args.gpu, args.model)
        for name in args.trace or TRACES
        for word in words
        for rate in rates
    ]
    rows = []
    for row in _results(jobs, args.jobs):
        rows.append(row)
        if not args.json:
            _print(row, first=len(rows) == 1)
    bars = {"attainment": [r for r in rows if not r["attainment_held"]], "saving": [r for r in rows if not r["saving_held"]]}
    ok = not any(bars.values())
    if args.json:
        print(json.dumps({"ok": ok, "quick": args.quick, "seed": args.seed, "rows": rows}, indent=2))
        return 0 if ok else 1
    print()
    print("In brackets: difference of attainment to the default in points; x: more than 0.5 below it.")
    for bar, text in (
        ("attainment", f"attainment at most {100 * POINTS:g} points below the default's"),
        ("saving", f"saving at least {100 * OF_HINDSIGHT:g} % of the best in hindsight"),
    ):
        short = bars[bar]
        print(f"{text}: holds in {len(rows) - len(short)} of {len(rows)} cases")
        for row in short:
            print(f"  not on {row['trace']} at {row['rate']:g}x, boundness {row['boundness']}")
    cost_ms = [row["decision_ms"] for row in rows]
    print(f"a decision takes {min(cost_ms):.1f} to {max(cost_ms):.1f} ms of CPU time in the mean of a case")
    print("all bars held" if ok else "fell short")
    return 0 if ok else 1


def _results(jobs: list[Job], side_by_side: int) -> Iterator[dict[str, Any]]:
    if side_by_side > 1:
        with ProcessPoolExecutor(side_by_side) as pool:
            yield from pool.map(played, jobs)
        return
    for number, job in enumerate(jobs, start=1):
        with drawn_line(every_s=0.1) as draw:
            prefix = f"case {number} of {len(jobs)}, {job.name} {job.rate:g}x {job.boundness}: "
            row = played(job, lambda text, prefix=prefix, draw=draw: draw(prefix + text))  # type: ignore[misc]
        yield row


_RULES = ("slo", replay.HINDSIGHT, "best fixed clock", "EcoFreq", "GEOPM", "static knee")


def _print(row: dict[str, Any], *, first: bool) -> None:
    def rule(name: str) -> str:
        one = row["rules"][name]
        sign = " " if one["within_rule"] else "x"
        return f"{one['saving_ratio']:6.1%} ({100 * one['difference_ratio']:+.2f}){sign}".ljust(17)

    if first:
        heads = "".join(name.ljust(17) for name in _RULES)
        print(f"{'trace':13} rate  bound     n  default   of best  {heads}")
    share = "-" if row["of_hindsight_ratio"] is None else f"{row['of_hindsight_ratio']:.0%}"
    case = f"{row['trace']:13} {row['rate']:3g}x  {row['boundness']:5} {row['replicas']:5}"
    held = "" if row["attainment_held"] and row["saving_held"] else "<"
    rules = "".join(rule(name) for name in _RULES)
    print(f"{case}  {row['default_attainment_ratio']:7.2%}  {share:>8}  {rules}{held}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
