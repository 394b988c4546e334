"""Current files: renewed certificates, changed users, and temporarily invalid files."""

import logging
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from energy_agent.config.agent import Web
from energy_agent.core.errors import UsageError
from energy_agent.runtime.clock import RealClock
from energy_agent.web.access import AccessControl
from energy_agent.web.server import WebServer
from tests.certificates import hashed

HASH, OTHER = hashed("a"), hashed("b")
TOKEN = "0123456789abcdef"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.replace(path)
    return path


def test_nothing_configured_is_plain_http_for_everyone() -> None:
    terms = AccessControl(Web()).terms()
    assert (terms.context, terms.credentials.needed, terms.headers) == (None, False, {})


def test_a_changed_file_is_in_force_and_a_wrong_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "web.yml", f"basic_auth_users: {{a: {HASH}}}")
    access = AccessControl(Web(config_file=file), look_s=0)
    with caplog.at_level(logging.INFO, "wattlens.web"):
        write(file, f"basic_auth_users: {{b: {OTHER}}}")
        assert set(access.terms().credentials.users) == {"b"}
        write(file, "basic_auth_users: {c: plain}")
        for _ in range(3):
            assert set(access.terms().credentials.users) == {"b"}
            assert not access.ok
        file.unlink()
        assert set(access.terms().credentials.users) == {"b"}
        write(file, f"basic_auth_users: {{c: {HASH}}}")
        assert set(access.terms().credentials.users) == {"c"}
        assert access.ok
    lines = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert len(lines) == 2  # one per fault, regardless of the number of checks
    assert "expected a bcrypt hash" in lines[0]
    assert "No such file" in lines[1]


@pytest.mark.parametrize("text", ["", "{}", "basic_auth_users: {}", "http_server_config: {http2: false}"])
def test_a_file_that_is_emptied_does_not_open_the_page(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "web.yml", f"basic_auth_users: {{a: {HASH}}}")
    access = AccessControl(Web(config_file=file), look_s=0)
    write(file, text)
    assert set(access.terms().credentials.users) == {"a"}
    assert not access.ok
    assert "TLS and credentials were removed" in caplog.text
    write(file, f"basic_auth_users: {{b: {OTHER}}}")
    assert set(access.terms().credentials.users) == {"b"}
    assert access.ok


def test_a_file_that_was_missing_is_found_when_it_comes(tmp_path: Path) -> None:
    access = AccessControl(Web(), look_s=0)
    access.configure(Web(bearer_token_file=tmp_path / "token"))
    assert not access.ok
    assert not access.terms().credentials.needed
    write(tmp_path / "token", TOKEN)
    access.configure(Web(bearer_token_file=tmp_path / "token"))
    assert access.ok
    assert access.terms().credentials.token == TOKEN


def test_the_token_file_is_read_again_and_must_not_be_everyones(tmp_path: Path) -> None:
    file = write(tmp_path / "token", f"{TOKEN}\n")
    access = AccessControl(Web(bearer_token_file=file), look_s=0)
    assert access.terms().credentials.token == TOKEN
    write(file, "f" * 20)
    assert access.terms().credentials.token == "f" * 20
    file.chmod(0o644)
    access.terms()
    assert not access.ok
    with pytest.raises(UsageError, match=r"everyone on this machine can read.*chmod o-r"):
        AccessControl(Web(bearer_token_file=file))


def test_a_link_that_is_turned_as_kubernetes_does_is_a_change(tmp_path: Path) -> None:
    for name, token in (("v1", "a" * 20), ("v2", "b" * 20)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "token", token)
    (tmp_path / "data").symlink_to("v1")
    access = AccessControl(Web(bearer_token_file=tmp_path / "data/token"), look_s=0)
    assert access.terms().credentials.token == "a" * 20
    (tmp_path / "fresh").symlink_to("v2")
    (tmp_path / "fresh").rename(tmp_path / "data")
    assert access.terms().credentials.token == "b" * 20


def test_access_with_invalid_files_serves_no_client(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    for wrong in (None, "basic_auth_users: {a: plain}", "tls_server_config: {cert_file: no, key_file: no}"):
        if wrong is not None:
            file.write_text(wrong)
        access = AccessControl(Web(config_file=file), may_wait=True)
        server = WebServer("127.0.0.1", 0, lambda: None, RealClock(), access=access)
        assert not access.ok
        with pytest.raises(UsageError, match=r"web\.yml"):
            server.start()
        assert server.port == 0
        file.write_text(f"basic_auth_users: {{a: '{hashed('right')}'}}")
        with server:
            assert access.ok
            url = f"http://127.0.0.1:{server.port}/healthz"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url, timeout=60)
            assert refused.value.code == 401
            refused.value.close()
        file.unlink()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = tmp_path / "pipe"
    with pytest.raises(UsageError, match="expected a file"):
        AccessControl(Web(bearer_token_file=pipe))
    with pytest.raises(UsageError, match="is a pipe"):
        AccessControl(Web(config_file=pipe))
    file = write(tmp_path / "web.yml", "tls_server_config: {cert_file: pipe, key_file: pipe}")
    with pytest.raises(UsageError, match=r"pipe: expected a file, got a pipe"):
        AccessControl(Web(config_file=file))


def test_clear_text_credentials_beyond_loopback_are_reported(tmp_path: Path) -> None:
    file = write(tmp_path / "web.yml", f"basic_auth_users: {{a: {HASH}}}")
    assert AccessControl(Web(config_file=file)).terms().notes == ()
    (note,) = AccessControl(Web(config_file=file, listen="0.0.0.0:1")).terms().notes
    assert "in clear text" in note
