"""Public request traces, and the requests of a cell drawn from them.

`conv` and `code`: Azure LLM inference 2023, conversation and the first 440 requests of code completion (CC-BY-4.0). `moon` and
`moonsyn`: Mooncake, conversation and synthetic (Apache-2.0), as CSV with the columns timestamp_ms, input_length and
output_length. `code` is in benchmarks/data, the others come from a folder.
"""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.vllm_plant.engine import BLOCK_TOKENS, Floats, Ints
from energy_agent.core.errors import UsageError

CODE = Path(__file__).parents[1] / "data/azure-llm-2023/AzureLLMInferenceTrace_code_440.csv"
FILES = {
    "conv": "azure-llm-2023/AzureLLMInferenceTrace_conv.csv",
    "moon": "mooncake/conversation_trace_slim.csv",
    "moonsyn": "mooncake/synthetic_trace_slim.csv",
}
_GAP_LIMIT_S = 10.0  # the code excerpt has silences of 28 and 144 s, which repetition would multiply
_STAMP_S = 3.0  # time stamps of Mooncake's conversations are multiples of it
_RUN = 40  # neighbours that are repeated together, so that bursts stay bursts


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """Gaps before requests in s, tokens of their prompts and outputs."""

    gap_s: Floats
    prompt: Ints
    output: Ints


@dataclass(frozen=True, slots=True)
class DrawnRequests:
    """Requests of a cell: a trace's, with the part of each prompt that is in the prefix cache."""

    gap_s: Floats
    prompt: Ints
    output: Ints
    cached: Ints


@cache
def read_trace(name: str, data: Path) -> RequestTrace:
    """Read a trace.

    Raises:
        UsageError: its file is missing.
    """
    path = CODE if name == "code" else data / FILES[name]
    if not path.is_file():
        raise UsageError(
            f"{path}: no such trace; get it from Azure/AzurePublicDataset (CC-BY-4.0) or kvcache-ai/Mooncake (Apache-2.0; its "
            "JSON lines as CSV with timestamp_ms, input_length, output_length), and name its folder with --data"
        )
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if name in ("conv", "code"):
        at_s = [datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC).timestamp() for row in rows]
        gap_s = np.minimum(np.diff([2 * at_s[0] - at_s[1], *at_s]), _GAP_LIMIT_S)
        return RequestTrace(gap_s, _integers(rows, "ContextTokens"), _integers(rows, "GeneratedTokens"))
    at_s = [int(row["timestamp_ms"]) / 1000 for row in rows]
    if name == "moon":
        draw = random.Random(5)
        at_s = sorted(at + draw.random() * _STAMP_S for at in at_s)
    return RequestTrace(np.diff([at_s[0], *at_s]), _integers(rows, "input_length"), _integers(rows, "output_length"))


def _integers(rows: Sequence[dict[str, str]], column: str) -> Ints:
    return np.array([int(row[column]) for row in rows], dtype=np.int32)


def draw_requests(trace: RequestTrace, count: int, seed: int, kv_tokens: int, hit_share: float) -> DrawnRequests:
    """Draw `count` requests: a section of a long trace, or runs of neighbours of a shorter one.

    Args:
        trace: the trace.
        count: number of requests.
        seed: seed.
        kv_tokens: size of the KV cache. Prompts are cut to 70 % of it.
        hit_share: share of the requests with 20 to 95 % of the prompt in the prefix cache.
    """
    draw, length = np.random.default_rng(seed), len(trace.gap_s)
    if length > 1.3 * count:
        start = draw.integers(0, length - count)
        rows = np.arange(start, start + count)
    else:
        starts = draw.integers(0, length, count // _RUN + 1)
        rows = np.concatenate([np.arange(start, start + _RUN) % length for start in starts])[:count]
    prompt = np.minimum(trace.prompt[rows], int(kv_tokens * 0.7))
    cached_share = np.where(draw.random(count) < hit_share, draw.uniform(0.2, 0.95, count), 0)
    cached = (prompt * cached_share).astype(int) // BLOCK_TOKENS * BLOCK_TOKENS
    cached = np.maximum(np.minimum(cached, prompt - 1), 0)
    output = np.maximum(trace.output[rows], 1)
    return DrawnRequests(
        np.maximum(trace.gap_s[rows], 1e-6), prompt.astype(np.int32), output.astype(np.int32), cached.astype(np.int32)
    )
