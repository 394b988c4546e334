"""TLS contexts for servers from a web-config file."""

from typing import TYPE_CHECKING, NoReturn

from energy_agent.core.errors import UsageError
from energy_agent.web.web_config import SUITES, TlsServer

if TYPE_CHECKING:
    import ssl


def context_of(tls: TlsServer) -> "ssl.SSLContext | None":
    """The context; None without a certificate. HTTP/2 is not offered, compression and renegotiation are off.

    Raises:
        UsageError: a file cannot be read, is no certificate or key, or they do not belong together.
    """
    if tls.cert_file is None:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    versions = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
    context.minimum_version, context.maximum_version = versions[tls.min_version], versions[tls.max_version]
    context.set_alpn_protocols(["http/1.1"])
    if older := [name for suite in tls.cipher_suites if (name := SUITES[suite])]:
        context.set_ciphers(":".join(older))
    elif tls.cipher_suites:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    files = f"cert_file {tls.cert_file}, key_file {tls.key_file}"
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=_refuse_password)
        if tls.verifies:
            files = f"client_ca_file {tls.client_ca_file}"
            context.load_verify_locations(tls.client_ca_file)
            required = tls.client_auth_type == "RequireAndVerifyClientCert"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{files}: {reason.replace('_', ' ').lower()}; expected certificates, or a chain and its key, in PEM"
        ) from None
    return context


def _refuse_password(*_: object) -> NoReturn:
    raise ValueError("the key is encrypted")
