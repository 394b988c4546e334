"""TLS by the standard library, as a web-config file asks for it: contexts, handshakes under a deadline, clients' names."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from energy_agent.web.web_config import TlsServer

if TYPE_CHECKING:
    import ssl

_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}


def context_of(tls: TlsServer) -> "ssl.SSLContext":
    """A server's context. HTTP/2 is not offered, compression and renegotiation are off.

    Raises:
        UsageError: a file cannot be read, is no certificate or key, or they do not belong together.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_ECDH_USE
    versions = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
    context.minimum_version, context.maximum_version = versions[tls.min_version], versions[tls.max_version]
    context.set_alpn_protocols(["http/1.1"])
    _suites(context, tls)
    _curves(context, tls)
    _certificate(context, tls)
    if tls.verifies:
        try:
            context.load_verify_locations(cadata=tls.client_ca or _text(tls.client_ca_file, "client_ca_file"))
        except (ssl.SSLError, ValueError):
            raise UsageError(f"client_ca_file {tls.client_ca_file or '(inline)'} holds no certificate in PEM") from None
        required = tls.client_auth_type == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _suites(context: "ssl.SSLContext", tls: TlsServer) -> None:
    import ssl

    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if not tls.cipher_suites:
        return
    older = [_openssl_name(suite) for suite in tls.cipher_suites if "_WITH_" in suite]
    if older:
        context.set_ciphers(":".join(older))  # up to TLS 1.2; those of TLS 1.3 are not to be chosen, in Go either
    elif tls.max_version == "TLS12":
        raise UsageError("cipher_suites has none for TLS 1.2, and max_version is TLS12: nobody could connect")
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _openssl_name(suite: str) -> str:
    """TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 as ECDHE-RSA-AES128-GCM-SHA256."""
    exchange, _, cipher = suite.removeprefix("TLS_").partition("_WITH_")
    cipher = cipher.replace("AES_128", "AES128").replace("AES_256", "AES256").replace("_CBC", "")
    return f"{exchange}_{cipher.removesuffix('_SHA256') if 'CHACHA20' in cipher else cipher}".replace("_", "-")


def _curves(context: "ssl.SSLContext", tls: TlsServer) -> None:
    names = [_CURVES[curve] for curve in tls.curve_preferences]
    set_groups = getattr(context, "set_groups", None)  # Python 3.15
    if len(names) > 1 and set_groups is None:
        raise UsageError("curve_preferences: this Python can be told one curve only; name one, or leave the key out")
    if len(names) > 1 and set_groups is not None:
        set_groups(":".join(names))
    elif names:
        import ssl

        try:
            context.set_ecdh_curve(names[0])
        except ssl.SSLError:  # X25519 on OpenSSL 3.0 before Python 3.12
            curve = tls.curve_preferences[0]
            raise UsageError(f"curve_preferences: {curve} is not supported by this Python with {ssl.OPENSSL_VERSION}") from None


def _certificate(context: "ssl.SSLContext", tls: TlsServer) -> None:
    import ssl

    certificate = tls.cert or _text(tls.cert_file, "cert_file")
    key = tls.key or _text(tls.key_file, "key_file")
    named = f"cert_file {tls.cert_file or '(inline)'}, key_file {tls.key_file or '(inline)'}"
    # What was read is what is loaded: the library takes file names, and a renewal may be under way.
    with _in_memory(certificate) as chain, _in_memory(key) as secret:
        try:
            context.load_cert_chain(chain.path, secret.path, password=_no_password)
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).replace("_", " ").lower()
            raise UsageError(f"{named}: {reason}; expected are a certificate chain and its key in PEM") from None
        except (ValueError, OSError) as error:
            raise UsageError(f"{named}: {error}") from None


def _no_password(*_: object) -> str:
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")


class _in_memory:  # noqa: N801 - reads as a with statement
    """A text as a file that lies on no disk."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._fd = -1
        self.path = ""

    def __enter__(self) -> "_in_memory":
        self._fd = os.memfd_create("pem", os.MFD_CLOEXEC)
        self.path = f"/proc/self/fd/{self._fd}"
        data = self._text.encode()
        while data:
            data = data[os.write(self._fd, data) :]
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _text(path: Path | None, key: str) -> str:
    if path is None:
        return ""
    try:
        if not path.is_file() and path.exists():  # nobody may ever write to a pipe
            raise UsageError(f"{key} {path} is no ordinary file")
        with path.open("rb") as file:
            raw = file.read(1 << 20)
    except OSError as error:
        raise UsageError(f"cannot read {key} {path}: {error.strerror}") from None
    return raw.decode("latin-1")


def handshake(client: "ssl.SSLSocket", tls: TlsServer, timeout_s: float) -> None:
    """Shake hands within `timeout_s`, all messages together.

    Raises:
        OSError: it failed or took too long (TimeoutError), or the certificate has no allowed name (PermissionError).
    """
    client.settimeout(timeout_s)
    client.do_handshake()
    if tls.client_allowed_sans is not None and not names_of(client.getpeercert() or {}) & set(tls.client_allowed_sans):
        raise PermissionError("the certificate has no name of client_allowed_sans")


def names_of(certificate: object) -> set[str]:
    """Subject alternative names of a verified certificate, as Go writes them: DNS names, addresses, e-mails, URIs."""
    names = set()
    listed = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    for kind, value in listed:
        if kind == "IP Address":
            try:
                names.add(str(ipaddress.ip_address(value.strip())))
            except ValueError:
                continue
        elif kind in ("DNS", "email", "URI"):
            names.add(value)
    return names


def speaks_http(error: OSError) -> bool:
    """True where a handshake failed because plain HTTP came."""
    return getattr(error, "reason", "") == "HTTP_REQUEST"


def say_goodbye(client: socket.socket, timeout_s: float) -> None:
    """End a TLS session properly; nothing for a plain socket. Raises OSError."""
    unwrap = getattr(client, "unwrap", None)
    if unwrap is not None:
        client.settimeout(timeout_s)
        unwrap()
