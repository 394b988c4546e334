"""The split into prefill and decode against the plant's truth, on engines whose cost bends with their batch.

Run from the repository's root: python -m benchmarks prefill_decode [--engines 60] [--seconds 900] [--seed N]

Each engine is a random draw of GPU, model, rate, lengths, cache and memory-boundness. The bars: half of the estimates within
5 % of the truth and 90 % within 10 %; intervals hold it in at least 95 %, and are on average at most twice as wide as the 95th
percentile of the error. The plain regression on prompt and generated tokens is printed for comparison.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.runner import Row
from benchmarks.serving_lockstep import ServingLoad, serve
from energy_agent.tokens.prefill_decode import PhaseWindow, split

BOARDS = {"H100-SXM5-80GB": 1.0, "A100-SXM4-80GB": 0.5, "H200-SXM": 1.2, "L40S": 0.3, "H100-PCIE-80GB": 0.6}
"""SKU -> about how fast it serves."""


def draw(seed: int) -> ServingLoad:
    """A load that the GPU can serve, from nearly idle to saturated."""
    random = Random(seed)
    sku = random.choice(sorted(BOARDS))
    large = random.random() < 0.25
    prompt, output = random.choice([200, 500, 1020, 2000, 4000]), random.choice([60, 129, 250, 400])
    speed = BOARDS[sku] * (0.5 if large else 1.0) * min(1.0, 1020 / prompt) * min(1.0, 200 / output)
    return ServingLoad(
        sku=sku,
        model="Qwen/Qwen3-32B" if large else "meta-llama/Llama-3.1-8B-Instruct",
        gpus=2 if large else 1,
        rate_per_s=speed * math.exp(random.uniform(math.log(0.5), math.log(12))),
        bursty=random.random() < 0.5,
        prompt=prompt,
        output=output,
        cached_ratio=random.choice([0.0, 0.0, 0.4]),
        decode_memory_boundness=random.choice([0.8, 0.9, 0.95]),
        prefill_memory_boundness=random.choice([0.05, 0.1, 0.3]),
    )


def plain(windows: Sequence[PhaseWindow]) -> tuple[float, float] | None:
    """J per prompt and per generated token by least squares on these two alone, the usual method."""
    cc, gg = sum(w.computed**2 for w in windows), sum(w.generated**2 for w in windows)
    cg = sum(w.computed * w.generated for w in windows)
    ce, ge = sum(w.computed * w.energy_j for w in windows), sum(w.generated * w.energy_j for w in windows)
    determinant = cc * gg - cg * cg
    return None if determinant <= 0 else ((ce * gg - ge * cg) / determinant, (ge * cc - ce * cg) / determinant)


def run(engines: int = 60, seconds: float = 900.0, seed: int = 1) -> Row:
    """Figures over all engines."""
    errors, widths, held, others = list[float](), list[float](), list[bool](), list[float]()
    absent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for k in range(engines):
            served = serve(Path(folder) / f"plant-{k}", draw(seed * 1000 + k), seed * 1000 + k, seconds)
            results, other = split(served.windows), plain(served.windows)
            for part, (band, truth) in enumerate(zip((results.prefill, results.decode), served.truth, strict=True)):
                if band is None:
                    absent[results.reason] += 1
                    continue
                errors.append(abs(band.value / truth - 1))
                widths.append((band.high - band.low) / 2 / truth)
                held.append(band.low <= truth <= band.high)
                if other is not None:
                    others.append(other[part] / truth - 1)
    errors.sort()
    others.sort()
    n = len(errors)
    p95 = errors[min(n - 1, int(0.95 * n))]
    within, coverage, ratio = sum(e <= 0.1 for e in errors) / n, sum(held) / n, sum(widths) / n / p95
    return {
        "estimates": n, "absent": dict(absent), "median_error": errors[n // 2], "p95_error": p95, "largest_error": errors[-1],
        "within_10_percent": within, "coverage": coverage, "mean_half_width": sum(widths) / n, "half_width_of_p95": ratio,
        "plain_from": others[0], "plain_to": others[-1],
        "ok": errors[n // 2] <= 0.05 and within >= 0.9 and coverage >= 0.95 and ratio <= 2,
    }  # fmt: skip
