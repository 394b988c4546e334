"""What a client says where the agent's socket gives no response."""

import http.server
import threading
from contextlib import contextmanager

import pytest

from energy_agent.runtime.network.agent_socket import ask
from energy_agent.sdk import agent
from energy_agent.sdk.agent import describe_silence


@contextmanager
def web_server(body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_agent_without_a_socket_is_not_taken_for_no_agent(tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "none"))
    monkeypatch.setattr(agent, "_ANSWER_S", 60.0)  # a busy machine may need more than half a second
    with pytest.raises(FileNotFoundError) as missing:
        ask("GET", "/v1/me")
    with web_server(b"<title>Wattlens</title>") as port:
        assert "client.socket" in describe_silence(missing.value, port)
        assert "no agent responds" in describe_silence(TimeoutError("timed out"), port)
    with web_server(b"another program") as port:
        assert f"no agent responds at {tmp_path}/none" in describe_silence(missing.value, port)
    assert "no agent responds" in describe_silence(missing.value, port)  # nothing listens any more
