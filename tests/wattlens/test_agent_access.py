"""How an agent's page is reached, against its real web server over TLS and plain, with right and wrong credentials."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.core.text import is_printable
from energy_agent.runtime.network.http import HttpError
from energy_agent.web.server import WebServer
from tests.certificates import Authority, hashed
from tests.energy_agent.web.test_secured_server import Secured
from tests.energy_agent.web.test_server import Still
from tests.snapshots import Player
from tests.support import said_here
from wattlens.agent_access import AgentAccess


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    it = Authority(tmp_path_factory.mktemp("ca"))
    it.issue("server", "IP:127.0.0.1")
    it.issue("me", "DNS:me.example")
    return it


@pytest.fixture(scope="module")
def files(authority: Authority) -> dict[str, Path]:
    stranger = Authority(authority.folder / "other", "other")
    certificate, key = stranger.issue("stranger", "DNS:s.example")
    texts = {"user": "prometheus:right", "wrong": "prometheus:wrong", "nocolon": "prometheus", "token": "0123456789abcdef"}
    files = {"ca": authority.ca, "cert": authority.folder / "me.pem", "key": authority.folder / "me.key"}
    files |= {"other_ca": stranger.ca, "other_cert": certificate, "other_key": key}
    for name, text in texts.items():
        files[name] = authority.folder / f"{name}.txt"
        files[name].write_text(f"{text}\n")
    return files


MUTUAL = """
tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}
"""  # noqa: E501
TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"


@pytest.fixture
def mutual(authority: Authority) -> Iterator[str]:
    with Secured(authority, MUTUAL + f"basic_auth_users: {{prometheus: {hashed('right')}}}").server as server:
        yield f"https://127.0.0.1:{server.port}"


@pytest.fixture
def secret(authority: Authority) -> Iterator[str]:
    with Secured(authority, TLS + f"basic_auth_users: {{prometheus: {hashed('right')}}}").server as server:
        yield f"https://127.0.0.1:{server.port}"


def why(access: AgentAccess) -> str:
    with pytest.raises(HttpError) as caught:
        access.opener()(60.0)
    return access.why_not(caught.value)


def test_a_certificate_a_password_and_an_authority_of_ones_own_open_the_page(mutual: str, files: dict[str, Path]) -> None:
    access = AgentAccess(mutual, files["ca"], files["user"], None, files["cert"], files["key"])
    assert b"wattlens_gpu_power_watts" in access.opener()(60.0)
    access_options = ["--url", mutual, "--ca-file", files["ca"], "--user-file", files["user"], "--cert-file", files["cert"]]
    done = said_here("top", "--once", "--json", *access_options, "--key-file", files["key"])
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["gpus"]) == 3


def test_what_is_missing_or_refused_is_named(mutual: str, secret: str, files: dict[str, Path]) -> None:
    ca, user, wrong = files["ca"], files["user"], files["wrong"]
    assert "give --cert-file" in why(AgentAccess(mutual, ca, user))
    assert f"client certificate in --cert-file {files['other_cert']}" in why(
        AgentAccess(mutual, ca, user, None, files["other_cert"], files["other_key"])
    )
    assert "give --user-file or --token-file" in why(AgentAccess(secret, ca))
    assert f"rejects the user or password in --user-file {wrong}" in why(AgentAccess(secret, ca, wrong))
    assert f"rejects the token in --token-file {files['token']}" in why(AgentAccess(secret, ca, None, files["token"]))
    assert "give --ca-file" in why(AgentAccess(secret, None, user))
    assert f"its issuer is not in --ca-file {files['other_ca']}" in why(AgentAccess(secret, files["other_ca"], user))


def test_too_many_wrong_passwords_have_an_own_message(secret: str, files: dict[str, Path]) -> None:
    access = AgentAccess(secret, files["ca"], files["wrong"])
    message = {why(access) for _ in range(14)}
    assert any("429" in text and "wrong passwords" in text for text in message)


def test_the_other_scheme_is_named(secret: str, files: dict[str, Path]) -> None:
    assert "use https://" in why(AgentAccess(secret.replace("https", "http")))
    with WebServer("127.0.0.1", 0, lambda: Player(gpus=1).at(5), Still()) as server:
        assert "use http://" in why(AgentAccess(f"https://127.0.0.1:{server.port}", files["ca"]))


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Whatever listens there, it says this."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with closing(client):
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(60)


@pytest.mark.parametrize(("answer", "message"), [
    (b"", "closed the connection"), (b"SSH-2.0-x\r\n", "not Prometheus text"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 12", "not Prometheus text"),
    (b"HTTP/1.1 500 Broken\r\n\r\n", "HTTP 500 Broken"),
    (b"HTTP/1.1 503 x\r\n\r\nno snapshot\x1b[2J yet\nb", "no snapshot?[2J yet"),
])  # fmt: skip
def test_whatever_answers_is_one_line(answer: bytes, message: str) -> None:
    with answering(answer) as url:
        text = why(AgentAccess(url))
    assert message in text
    assert is_printable(text)


def test_wrong_options_are_refused_before_anything_is_sent(files: dict[str, Path], tmp_path: Path) -> None:
    url = "https://127.0.0.1:1"
    for access, message in (
        (AgentAccess(url, files["user"]), "--ca-file"),
        (AgentAccess(url, None, files["nocolon"]), "user:password"),
        (AgentAccess(url, None, files["user"], files["token"]), "cannot be combined"),
        (AgentAccess(url, key_file=files["key"]), "--key-file: expected together with --cert-file"),
        (AgentAccess(url, cert_file=files["cert"], key_file=files["other_key"]), "key values mismatch"),
        (AgentAccess(url, cert_file=tmp_path / "none"), "No such file"),
        (AgentAccess("http://x", files["ca"]), "--ca-file: expected together with an https:// address"),
    ):
        with pytest.raises(UsageError) as caught:
            access.opener()
        assert message in str(caught.value)
