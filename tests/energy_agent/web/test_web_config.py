"""The web-config reader, side by side with promtool on the same files."""

import re
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.web import access, web_config
from tests.certificates import Authority
from tests.support import need_program, need_prometheus

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
PAIR = "cert_file: server.pem, key_file: server.key"


def tls_of(more: str) -> str:
    return f"tls_server_config: {{{PAIR}, {more}}}"


GOOD = [
    "",
    "{}",
    "tls_server_config:",
    "tls_server_config: {min_version: TLS13}",
    f"tls_server_config: {{{PAIR}}}",
    tls_of("client_auth_type: NoClientCert"),
    tls_of("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem"),
    tls_of("client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"),
    tls_of("client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: [prometheus]"),
    tls_of("min_version: TLS13"),
    tls_of("min_version: TLS12, max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
    tls_of("cipher_suites: [TLS_AES_128_GCM_SHA256]"),
    tls_of("cipher_suites: [TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]"),
    tls_of("prefer_server_cipher_suites: false"),
    tls_of("prefer_server_cipher_suites: yes"),
    tls_of("client_auth_type: '', client_ca_file: ''"),
    "http_server_config: {http2: true}",
    "http_server_config: {http2: false, headers: {X-Frame-Options: deny, X-Content-Type-Options: nosniff}}",
    "http_server_config: {headers: {X-XSS-Protection: '0', Content-Security-Policy: \"default-src 'none'\"}}",
    f"tls_server_config: {{{PAIR}}}\nhttp_server_config: {{headers: {{Strict-Transport-Security: max-age=300}}}}",
    f"basic_auth_users: {{a: {HASH}, b: {HASH}}}",
    f"basic_auth_users: {{a: {HASH.replace('2y', '2b')}}}",
]
BAD = [
    "[1]",
    "a: b: c",
    "basic_auth_user: {}",
    "basic_auth_users: {a: plain}",
    "basic_auth_users: {a: ''}",
    "basic_auth_users: {a: 1}",
    f"basic_auth_users: {{a: {HASH[:-5]}}}",
    f"basic_auth_users: {{a: {HASH.replace('$10$', '$32$')}}}",
    f"basic_auth_users: {{a: {HASH.replace('$10$', '$03$')}}}",
    "tls_server_config: {cert_file: server.pem}",
    "tls_server_config: {key_file: server.key}",
    "tls_server_config: {client_auth_type: NoClientCert}",
    "tls_server_config: {cert_file: none.pem, key_file: server.key}",
    "tls_server_config: {cert_file: [no], key_file: [no]}",
    "tls_server_config: {cert_file: server.pem, key_file: none.key}",
    "tls_server_config: {cert_file: server.key, key_file: server.pem}",
    "tls_server_config: {cert_file: server.pem, key_file: other.key}",
    "tls_server_config: {cert_file: server.pem, key_file: locked.key}",
    tls_of("client_auth_type: Bogus"),
    tls_of("client_ca_file: ca.pem"),
    tls_of("client_auth_type: NoClientCert, client_ca_file: ca.pem"),
    tls_of("client_auth_type: RequireAndVerifyClientCert, client_ca_file: none.pem"),
    tls_of("min_version: SSL3"),
    tls_of("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"),
    tls_of("prefer_server_cipher_suites: maybe"),
    tls_of("nonsense: 1"),
    "http_server_config: {headers: {X-Foo: bar}}",
    "http_server_config: {headers: {x-frame-options: deny}}",
]
LEGACY_CIPHER = tls_of("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]")  # older promtools take it, newer ones refuse it
STRICTER = {
    # promtool takes these; here they are not supported, or would let everyone or nobody in.
    tls_of("client_auth_type: RequestClientCert"): "RequireAndVerifyClientCert",
    tls_of("client_auth_type: RequireAnyClientCert"): "RequireAndVerifyClientCert",
    tls_of("client_auth_type: RequireAndVerifyClientCert"): "client_ca_file",
    tls_of("client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.key"): "client_ca_file",
    tls_of("client_allowed_sans: [prometheus]"): "client_allowed_sans requires client_auth_type RequireAndVerifyClientCert",
    tls_of("min_version: TLS10"): "TLS12",
    tls_of("min_version: TLS13, max_version: TLS12"): "no client could connect",
    tls_of("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA]"): "supported: TLS_AES_128_GCM_SHA256",
    tls_of("curve_preferences: [CurveP384]"): "curve_preferences",
    'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: b"}}': "Content-Security-Policy",
    f"basic_auth_users: {{a: {HASH}junk}}": "expected a bcrypt hash",
    f"basic_auth_users: {{a: {HASH.replace('$10$', '$31$')}}}": "expected a bcrypt hash",
    f"basic_auth_users: {{'a:b': {HASH}}}": "'a:b'",
    f"basic_auth_users: {{a: &h {HASH}, b: *h}}": "alias",
}
SINCE_2_43 = "client_allowed_sans"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    authority = Authority(tmp_path_factory.mktemp("web"))
    authority.issue("server", "IP:127.0.0.1")
    authority.issue("other", "IP:127.0.0.1")
    key = authority.folder / "server.key"
    locked = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(key.with_name("locked.key")), "-passout", "pass:x1234"]
    subprocess.run(locked, check=True, capture_output=True)
    return authority.folder


def ours(text: str, folder: Path) -> str:
    """'' where the file is taken, else the one line that says why not."""
    path = folder / "web.yml"
    path.write_text(text)
    try:
        access.context_of(web_config.load(path).tls_server_config)
    except UsageError as error:
        return str(error)
    return ""


def taken_by_promtool(texts: Sequence[str], folder: Path) -> list[str]:
    """Those that promtool takes, checked by one process."""
    paths = {str(folder / f"web-{number}.yml"): text for number, text in enumerate(texts)}
    for path, text in paths.items():
        Path(path).write_text(text)
    command = [need_program("promtool"), "check", "web-config", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    verdicts = dict(re.findall(r"^(\S+) (SUCCESS|FAILED)", done.stdout + done.stderr, re.MULTILINE))
    assert verdicts.keys() == paths.keys(), done
    return [text for path, text in paths.items() if verdicts[path] == "SUCCESS"]


@pytest.mark.parametrize("text", GOOD)
def test_what_can_be_kept_is_taken(text: str, folder: Path) -> None:
    assert ours(text, folder) == ""


@pytest.mark.parametrize("text", [*BAD, LEGACY_CIPHER])
def test_each_error_is_a_line_that_names_its_file(text: str, folder: Path) -> None:
    lines = ours(text, folder).splitlines()
    assert lines
    assert [line for line in lines if str(folder) not in line] == []
    assert HASH not in "".join(lines)


@pytest.mark.parametrize("text", STRICTER)
def test_what_cannot_be_kept_is_refused_with_its_reason(text: str, folder: Path) -> None:
    assert STRICTER[text] in ours(text, folder)


@pytest.mark.prometheus
def test_promtool_agrees_on_every_file(folder: Path) -> None:
    taken = [text for text in (*GOOD, *STRICTER) if SINCE_2_43 not in text]
    assert taken_by_promtool([*taken, *BAD], folder) == taken


@pytest.mark.prometheus
def test_promtool_agrees_on_allowed_names_of_clients(folder: Path) -> None:
    need_prometheus(SINCE_2_43, (2, 43))
    newer = [text for text in GOOD if SINCE_2_43 in text]
    assert taken_by_promtool(newer, folder) == newer


def test_paths_are_relative_to_the_file(folder: Path) -> None:
    path = folder / "web.yml"
    path.write_text(f"tls_server_config: {{{PAIR}}}")
    assert web_config.load(path).tls_server_config.cert_file == folder / "server.pem"


def test_cipher_names_are_those_of_openssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in filter(None, web_config.SUITES.values()):
        context.set_ciphers(name)
        assert [c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"] == [name]


def test_what_stands_in_a_wrong_place_is_not_shown_but_for_a_misspelt_choice() -> None:
    for text in (f"tls_server_config: {HASH}", f"tls_server_config: {{min_version: {HASH}}}", "basic_auth_users: secret-word"):
        with pytest.raises(UsageError) as caught:
            web_config.parse(text.encode())
        assert HASH not in str(caught.value)
        assert "secret-word" not in str(caught.value)
    with pytest.raises(UsageError, match=r"got 'TLS1\.2'"):
        web_config.parse(b"tls_server_config: {min_version: 'TLS1.2'}")
