"""A small replica, whose memory is soon full, and streams for it: for laws that have to hold whatever comes."""

from dataclasses import replace

from hypothesis import strategies as st

from dvfs.replay.serving import boards, models
from dvfs.replay.serving.engine import Stream
from dvfs.replay.serving.server import BOUNDNESS, ReplicaSpec, server

H100 = boards.find("h100-sxm")
SEQUENCES = 4


def small(kv_tokens: int = 120, boundness: str = "mid", engine: str = "vllm-2024") -> ReplicaSpec:
    """Four sequences, chunks of 16 tokens, room for `kv_tokens`; steps are as slow as a big model's."""
    one = server(H100, models.find("llama-8b"), boundness=BOUNDNESS[boundness], engine=engine, max_num_seqs=SEQUENCES)
    return replace(one, kv_tokens=kv_tokens, max_batched_tokens=16, prefill_s=1e-4, attention_s=1e-6, kv_s=1e-6)


def stream(rows: list[tuple[float, int, int]], ttft_s: float = 0.5, itl_s: float = 0.05) -> Stream:
    """Of (arrival in s, prompt, output)."""
    return Stream(tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows), (ttft_s,) * len(rows), itl_s)


@st.composite
def streams(draw: st.DrawFn, most: int = 12, gap_s: float = 0.3) -> Stream:
    """Bursts and pauses; each request fits the room, two long ones together do not."""
    n = draw(st.integers(1, most))
    gaps = draw(st.lists(st.one_of(st.just(0.0), st.floats(0.0, gap_s)), min_size=n, max_size=n))
    # Times that no sum of steps hits exactly, so that two engines never have to agree on a tie.
    at, rows = 0.0, []
    for gap in gaps:
        at += gap * 1.000000123
        rows.append((at, draw(st.integers(1, 60)), draw(st.integers(1, 50))))
    return stream(rows)
