"""What is wrong with the address, the token, the server or the options is one line that says what to do."""

import shlex

import pytest

from tests.certificates import Authority
from tests.doubles.grafana.service import FAULTS, GrafanaService
from tests.support import free_port
from wattlens.cli import main


@pytest.fixture
def grafana():
    service = GrafanaService(prefix="/grafana")
    yield service
    service.stop()


@pytest.fixture
def token_file(grafana, tmp_path):
    path = tmp_path / "token"
    path.write_text(grafana.token("Admin") + "\n")
    return path


@pytest.fixture
def run_action(token_file, capsys):
    """Exit code and the one line of an attempt; a secret never stands in it."""

    def tell(url, *options, file=token_file):
        capsys.readouterr()
        code = main(["dashboards", "push", "--url", url, "--token-file", str(file), *options])
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("wattlens")
        assert output.err.count("\n") == 1
        assert "glsa_" not in output.err
        return code, output.err

    return tell


def test_behind_a_path_it_is_found(grafana, token_file, capsys):
    assert main(["dashboards", "push", "--dry-run", "--url", f"{grafana.url}/", "--token-file", str(token_file)]) == 0
    assert "would create folder" in capsys.readouterr().out


WORDS = {
    "deep": "is not from the Grafana API",
    "error": "HTTP 500) (reply: Internal server error see the log)",
    "garbage": "is not from the Grafana API",
    "hang": "no response in time (1 s; --timeout)",
    "slow": "no response in time (1 s; --timeout)",
    "huge": "larger than 32 MiB",
    "login-page": "is not from the Grafana API",
    "redirect": "redirects to https://grafana.example/api/; give that address in --url",
    "broken-off": "the response is incomplete",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_server_fault_is_reported_in_words(grafana, run_action, fault):
    grafana.fault = fault
    code, line = run_action(grafana.url, "--timeout", "1s" if fault in ("hang", "slow") else "1m")
    assert code == 1
    assert WORDS[fault] in line


def test_a_token_that_is_worth_nothing(grafana, run_action, token_file):
    grafana.revoke(token_file.read_text().strip())
    code, line = run_action(grafana.url)
    assert code == 1
    assert f"rejects the token in --token-file {token_file}" in line


def test_an_address_without_a_grafana(grafana, run_action):
    assert "is not from the Grafana API" in run_action(grafana.url.removesuffix("/grafana"))[1]
    assert "connection refused" in run_action(f"http://127.0.0.1:{free_port()}")[1]
    assert "cannot be reached" in run_action("https://grafana.invalid")[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--url grafana:3000", "--url: expected an http:// or https:// URL"),
        ("--url ftp://grafana", "got 'ftp://grafana'"),
        ("--url http://127.0.0.1:99999", "--url"),
        ("--url https://grafana/?orgId=1", "--url"),
        ("--url http://grafana.example:3000", "unencrypted: use https:// in --url, or --insecure"),
        ("--url https://admin:hunter2@grafana", "--url"),
        ("--prometheus-url http://user:hunter2@prometheus", "--prometheus-url"),
        ("--timeout soon", "--timeout"),
        ("--folder ' '", "--folder"),
        ("--datasource a/../b", "--datasource"),
        ("--ca-file /nowhere", "--ca-file: expected together with an https:// address"),
        ("--token-file /nowhere", "No such file"),
    ],
)
def test_a_wrong_option_is_named(grafana, run_action, options, words):
    code, line = run_action(grafana.url, *shlex.split(options))
    assert (code, words in line, "hunter2" in line) == (2, True, False)


@pytest.mark.parametrize("content", [b"", b" \n", b"two words\n", b"a\nb\n", b"\xff\xfe", b"x" * 5000])
def test_a_token_file_that_holds_none(grafana, run_action, tmp_path, content):
    path = tmp_path / "odd"
    path.write_bytes(content)
    code, line = run_action(grafana.url, file=path)
    assert code == 2
    assert ("--token-file" in line, str(path) in line) == (True, True)


def test_two_folders_of_one_title_are_not_guessed_between(grafana, run_action):
    for uid in ("a", "b"):
        grafana.boards.folders[uid] = {"id": 1, "uid": uid, "title": "Wattlens"}
    code, line = run_action(grafana.url)
    assert code == 1
    assert "2 folders called Wattlens" in line


def test_server_text_cannot_control_the_terminal(grafana, run_action):
    grafana.boards.folders["wattlens"] = {"id": 1, "uid": "wattlens", "title": "Wattlens"}
    grafana.sources.sources["prometheus"] = {"uid": "prometheus", "name": "\x1b]0;x\x07", "type": "\x1b[31m"}
    grafana.sources.secrets["prometheus"] = {}
    line = run_action(grafana.url, "--alerts")[1]
    assert "\x1b" not in line
    assert "expected type 'prometheus'" in line


def test_a_certificate_is_checked_and_its_issuer_can_be_named(run_action, tmp_path, capsys):
    ca = Authority(tmp_path / "ca")
    service = GrafanaService(tls=ca.issue("localhost", "DNS:localhost"))
    try:
        token, url = tmp_path / "token-tls", service.url.replace("127.0.0.1", "localhost")
        token.write_text(service.token("Admin"))
        code, line = run_action(url, file=token)
        assert (code, "certificate is not trusted" in line, "--ca-file" in line) == (1, True, True)
        code, line = run_action(url, "--ca-file", str(Authority(tmp_path / "other").ca), file=token)
        assert (code, "its issuer is not in --ca-file" in line) == (1, True)
        assert main(["dashboards", "push", "--dry-run", "--url", url, "--token-file", str(token), "--ca-file", str(ca.ca)]) == 0
        assert "would create folder" in capsys.readouterr().out
    finally:
        service.stop()
    for content, words in ((None, "No such file"), (b"no certificate", "expected a certificate in PEM")):
        if content is not None:
            (tmp_path / "bad.pem").write_bytes(content)
        code, line = run_action("https://localhost:1", "--ca-file", str(tmp_path / "bad.pem"))
        assert (code, words in line) == (2, True)
