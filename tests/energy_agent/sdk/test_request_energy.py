"""`request_energy` asks a real socket of an agent; usage in the forms of public APIs."""

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wattlens
from energy_agent.core.workloads.token_price import EngineHour, RequestTokens
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import Peers
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.runtime.clock import RealClock
from energy_agent.sdk import request_energy as module
from energy_agent.sdk.request_energy import request_energy, usage_of
from tests.snapshots import Player

HOUR_S = 3600
FINAL = EngineHour(
    "chat", "m", 500_000 * HOUR_S * 10**9, 500_001 * HOUR_S * 10**9, 10**9, 10**7, RequestTokens(8_000, 5_000, 1_500),
    Fraction(4, 10), Fraction(3, 10), Fraction(5, 10), 0.05, 0, final=True,
)  # fmt: skip
OPEN = replace(FINAL, start_ns=FINAL.end_ns, end_ns=FINAL.end_ns + 10**9, active_uj=2 * 10**9, final=False)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    history = EnergyHistory()
    history.add(replace(Player(gpus=2).at(5, time.time_ns()), engine_hours=(FINAL, OPEN)))
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "agent.sock"))
    monkeypatch.setattr(module, "_last", (float("-inf"), [], ""))
    api = ClientApi(tmp_path / "agent.sock", Routes(history), Peers([Path("/proc")], RealClock()))
    api.start()
    yield
    api.stop()


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 12, "completion_tokens": 3}, RequestTokens(12, 0, 3)),
        ({"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}, RequestTokens(4, 8, 3)),
        ({"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": None}, RequestTokens(12, 0, 3)),
        ({"input_tokens": 12, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}, RequestTokens(10, 2, 3)),
        ({"input_tokens": 12, "output_tokens": 3, "cache_read_input_tokens": 90}, RequestTokens(12, 90, 3)),
        (
            SimpleNamespace(prompt_tokens=5, completion_tokens=0, prompt_tokens_details=SimpleNamespace(cached_tokens=9)),
            RequestTokens(0, 5, 0),
        ),
        (SimpleNamespace(prompt_tokens=5, completion_tokens=None), RequestTokens(5, 0, 0)),
    ],
)
def test_usage_of_public_apis(usage: Any, tokens: RequestTokens) -> None:
    assert usage_of(usage) == tokens


@pytest.mark.parametrize("usage", [{}, None, {"prompt_tokens": "5"}, {"prompt_tokens": -1}, {"prompt_tokens": True}])
def test_usage_without_counts_is_refused(usage: Any) -> None:
    with pytest.raises(TypeError, match="prompt_tokens"):
        usage_of(usage)


def test_a_request_now_has_the_provisional_price_and_one_of_a_final_hour_the_final(agent: None) -> None:
    usage = {"prompt_tokens": 800, "completion_tokens": 150}
    now = wattlens.request_energy(usage, "chat")
    assert (now.joules, now.provisional, now.boundary) == (pytest.approx(200.0), True, "gpu")
    then = request_energy(usage, "chat", at_s=500_000 * HOUR_S + 7)
    assert (then.joules, then.provisional, then.reason) == (pytest.approx(100.0), False, "")
    assert then.lower is not None
    assert then.upper is not None
    assert then.lower < 100 < then.upper
    cached = request_energy({"prompt_tokens": 800, "prompt_tokens_details": {"cached_tokens": 800}}, "chat")
    assert cached.joules == 0


def test_an_unknown_engine_or_hour_has_a_reason_and_no_joules(agent: None) -> None:
    unknown = request_energy({"prompt_tokens": 1}, "nobody")
    assert unknown.joules is None
    assert "nobody" in unknown.reason
    assert "chat" in unknown.reason
    early = request_energy({"prompt_tokens": 1}, "chat", at_s=0.0)
    assert early.joules is None
    assert early.reason


def test_without_an_agent_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "none.sock"))
    monkeypatch.setattr(module, "_last", (float("-inf"), [], ""))
    energy = request_energy({"prompt_tokens": 1}, "chat")
    assert energy.joules is None
    assert "none.sock" in energy.reason
