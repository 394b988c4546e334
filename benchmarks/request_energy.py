"""Median and 95th percentile of the energy of a request from two histograms, against the requests of public traces.

Run from the repository's root: python -m benchmarks request_energy

The requests of Azure LLM inference 2023 and of both Mooncake traces are put into the buckets of vLLM and of SGLang, and priced
with a computed prompt token at 1/100 to the whole of a generated one. The bars: every bound holds, the upper bound is at most 3
times the truth, and nine of ten estimates are within 20 % of it.
"""

import csv
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Final

from benchmarks.runner import Row
from energy_agent.core.workloads.request_quantiles import MEDIAN, P95, request_quantile
from energy_agent.core.workloads.token_price import EngineHour, RequestTokens
from energy_agent.core.workloads.tokens import Latencies

DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
TRACES: Final = {
    "azure": Path("azure-llm-2023/AzureLLMInferenceTrace_conv.csv"),
    "conversation": Path("mooncake/conversation_trace_slim.csv"),
    "synthetic": Path("mooncake/synthetic_trace_slim.csv"),
}
COLUMNS: Final = {
    "azure": ("ContextTokens", "GeneratedTokens"),
    "conversation": ("input_length", "output_length"),
    "synthetic": ("input_length", "output_length"),
}
BUCKETS: Final = {
    "vllm": tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5) if digit * 10**power <= 131_072),
    # Those of SGLang for prompts, here for generated tokens too, of which it has finer ones.
    "sglang": (100, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 12000, 15000, 20000,
               22000, 25000, 30000, 35000, 40000),
}  # fmt: skip
RATIOS: Final = (0.01, 0.05, 0.2, 1.0)
"""Price of a computed prompt token, of that of a generated one."""
ACTIVE_UJ: Final = 10**15


def requests_of(path: Path, columns: tuple[str, str]) -> list[tuple[int, int]]:
    """Prompt tokens and generated tokens of the requests of a trace."""
    with path.open() as file:
        return [(int(row[columns[0]]), int(row[columns[1]])) for row in csv.DictReader(file)]


def histogram(tokens: Sequence[int], edges: Sequence[int]) -> Latencies:
    """Tokens per request as a server counts them."""
    counts = [0] * (len(edges) + 1)
    for count in tokens:
        counts[bisect_left(edges, count)] += 1
    return Latencies(tuple(map(float, edges)), tuple(counts), float(sum(tokens)))


def run(data: Path = DATA) -> Iterator[Row]:
    """One row per trace, buckets, price and quantile, and one of all."""
    rows = [row for trace in COLUMNS for row in _of_trace(data, trace)]
    yield from rows
    errors = sorted(abs(row["estimate_error_ratio"]) for row in rows)
    nine_of_ten, widest = errors[ceil(0.9 * len(errors)) - 1], max(row["upper_ratio"] for row in rows)
    yield {
        "cases": len(rows), "bounds held": sum(row["ok"] for row in rows), "error, median": errors[len(errors) // 2],
        "error, nine in ten": nine_of_ten, "error, largest": errors[-1],
        "lower bound, smallest": min(row["lower_ratio"] for row in rows), "upper bound, largest": widest,
        "ok": nine_of_ten <= 0.2 and widest <= 3.0,
    }  # fmt: skip


def _of_trace(data: Path, trace: str) -> Iterator[Row]:
    requests = requests_of(data / TRACES[trace], COLUMNS[trace])
    prompts, outputs = [x for x, _ in requests], [y for _, y in requests]
    usage = RequestTokens(sum(prompts), 0, sum(outputs))
    for server, edges in BUCKETS.items():
        for ratio in RATIOS:
            share = Fraction(ratio * usage.computed / (ratio * usage.computed + usage.generated))
            hour = EngineHour(
                "trace", "m", 0, 1, ACTIVE_UJ, 0, usage, share, share, share, requests=len(requests),
                prompts=histogram(prompts, edges), outputs=histogram(outputs, edges),
            )  # fmt: skip
            p, g = hour.rates(share)
            energies = sorted(p * x + g * y for x, y in requests)
            for quantile in (MEDIAN, P95):
                true = energies[ceil(quantile * len(energies)) - 1]
                figure = request_quantile(hour, quantile)
                assert not isinstance(figure, str), figure
                estimate, low, high = (value / true for value in figure)
                yield {
                    "trace": trace, "buckets": server, "price_ratio": ratio, "quantile": quantile,
                    "estimate_error_ratio": estimate - 1, "lower_ratio": low, "upper_ratio": high, "ok": low <= 1 <= high,
                }  # fmt: skip
