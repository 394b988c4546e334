"""What a client says where the agent's socket gives no response."""

import pytest

from energy_agent.runtime.network.agent_socket import ask
from energy_agent.sdk import agent
from energy_agent.sdk.agent import describe_silence
from tests.doubles.page_server import PageServer


def test_an_agent_without_a_socket_is_not_taken_for_no_agent(tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "none"))
    monkeypatch.setattr(agent, "_ANSWER_S", 60.0)  # a busy machine may need more than half a second
    with pytest.raises(FileNotFoundError) as missing:
        ask("GET", "/v1/me")
    with PageServer(lambda: b"<title>Wattlens</title>") as server:
        assert "client.socket" in describe_silence(missing.value, server.port)
        assert "no agent responds" in describe_silence(TimeoutError("timed out"), server.port)
    with PageServer(lambda: b"another program") as server:
        assert f"no agent responds at {tmp_path}/none" in describe_silence(missing.value, server.port)
    assert "no agent responds" in describe_silence(missing.value, server.port)  # nothing listens any more
