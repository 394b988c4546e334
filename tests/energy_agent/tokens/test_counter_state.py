"""Counters of a metrics page in the journal: what was written is read back, and a damaged text is refused whole."""

import json

import pytest

from energy_agent.core.workloads.tokens import Latencies
from energy_agent.tokens.counter_state import EndpointState, EngineCounters, ModelCounters, decode, encode
from energy_agent.tokens.server_spec import LENGTHS

TTFT = Latencies((0.1, 1.0), (3, 0, 2), 2.5)
LATENCIES = {"ttft": TTFT, "itl": None} | dict.fromkeys(LENGTHS)
WHOLE = EndpointState(
    7, {"m": ModelCounters({"0": EngineCounters({"prompt": 5, "cached": None}, LATENCIES, 1.5, "0")},
                   {"prompt": "vllm:prompt"}, {"prompt": 9}, {"ttft": TTFT}, 6, 1, 0)},
)  # fmt: skip


@pytest.mark.parametrize("standing", [EndpointState(), WHOLE])
def test_what_was_written_is_read_back(standing):
    assert decode(encode(standing)) == standing


DAMAGE = {
    "version": 1, "read_ns": -1, "models": [], "models.m.read_ns": 1.5, "models.m.counts.prompt": -1, "models.m.counts.x": 1,
    "models.m.counts.cached": True, "models.m.names.x": "a", "models.m.latencies.x": None,
    "models.m.latencies.ttft.edges": [1, 0.1],
    "models.m.latencies.ttft.counts": [1, 2], "models.m.latencies.ttft.sum_s": -1, "models.m.engines.0.started_s": -1,
    "models.m.engines.0.counts.prompt": "5", "models.m.engines.0.latencies.itl": {}, "models.m.engines.0.rank": 3,
}  # fmt: skip


@pytest.mark.parametrize("key", DAMAGE)
def test_a_damaged_text_is_refused(key):
    body = json.loads(encode(WHOLE))
    *path, last = key.split(".")
    place = body
    for part in path:
        place = place[part]
    place[last] = DAMAGE[key]
    with pytest.raises(ValueError, match="not the counters"):
        decode(json.dumps(body))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000, '{"version": 2}'])
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match="not the counters"):
        decode(text)
