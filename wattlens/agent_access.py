"""Access to an agent's metrics endpoint: plain or TLS, with credentials or a certificate, and the text of its errors."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.address import parse_address
from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable, quoted_address
from energy_agent.runtime.files.secret_file import read_secret
from energy_agent.runtime.network.http import (
    HttpCertificateError,
    HttpClient,
    HttpError,
    HttpProtocolError,
    HttpResponse,
    HttpTimeoutError,
    HttpTlsError,
    HttpTooLargeError,
    HttpTruncatedError,
    HttpUnreachableError,
    basic_authorization,
)
from energy_agent.runtime.network.tls import TlsFiles

MAX_PAGE_B = 16 << 20
_PLAIN_ANSWERS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "UNEXPECTED_MESSAGE",
)
"""What OpenSSL says where plain HTTP answers a handshake, by its version."""


@dataclass(frozen=True, slots=True)
class AgentAccess:
    """URL and credentials of an agent's metrics endpoint. Secrets are in files, never on a command line."""

    url: str
    ca_file: Path | None = None  # whom to believe, instead of the system's authorities
    user_file: Path | None = None  # one line, user:password
    token_file: Path | None = None  # one line, a bearer token
    cert_file: Path | None = None  # our own certificate chain, where the agent asks for one
    key_file: Path | None = None  # its key; None: in cert_file too

    def opener(self) -> Callable[[float], bytes]:
        """Return a function that fetches the response body within a timeout in seconds, and raises HttpError on failure.

        Raises:
            UsageError: the address is not valid, or a file cannot be read or does not contain what its option requires.
        """
        try:
            parts = parse_address(self.url, allow_query=True)
        except ValueError as error:
            raise UsageError(f"--url: {error}, got {quoted_address(self.url)}") from None
        if self.user_file and self.token_file:
            raise UsageError("--token-file: cannot be combined with --user-file")
        path = (parts.path.rstrip("/") and parts.path) or "/metrics"
        root, path = f"{parts.scheme}://{parts.netloc}", path + (f"?{parts.query}" if parts.query else "")
        headers: dict[str, str] = {}
        if self.user_file:
            secret = read_secret(self.user_file, "--user-file")
            if ":" not in secret:
                raise UsageError(f"--user-file {self.user_file}: expected one line user:password, got a line without a colon")
            headers["Authorization"] = basic_authorization(*secret.split(":", 1))
        if self.token_file:
            headers["Authorization"] = f"Bearer {read_secret(self.token_file, '--token-file').strip()}"
        if self.url.startswith("https://"):
            self._check_files()
        elif unused := [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name)]:
            raise UsageError(
                f"--{unused[0].replace('_', '-')}: expected together with an https:// address, got --url {self.url}"
            )
        tls = TlsFiles(self.ca_file, self.cert_file, self.key_file)

        def fetch(timeout_s: float) -> bytes:
            client = HttpClient(root, timeout_s, tls, body_limit_b=MAX_PAGE_B)
            response = client.request("GET", path, headers)
            if not response.ok:
                raise AgentStatusError(root, response)
            return response.body

        return fetch

    def why_not(self, error: Exception) -> str:
        """Why a page could not be read, in words that name the option to change."""
        match error:
            case AgentStatusError():
                return self._refused(error.response)
            case HttpTimeoutError():
                return "no response in time"
            case HttpCertificateError():
                hint = f"its issuer is not in --ca-file {self.ca_file}" if self.ca_file else "give --ca-file"
                return f"{error.reason}; {hint}"
            case HttpTlsError():
                return self._tls(error.alert)
            case HttpProtocolError() | HttpTruncatedError() | HttpTooLargeError() | ValueError():
                return "the response is not Prometheus text"
            case HttpUnreachableError(is_closed=True):
                return self._hung_up()
            case HttpError():
                return error.reason
        return getattr(error, "strerror", None) or str(error) or type(error).__name__

    def _refused(self, response: HttpResponse) -> str:
        detail = printable(response.body[:200].decode("utf-8", "replace").strip().partition("\n")[0])
        code = response.status
        if code in (401, 403):
            if self.user_file:
                return f"HTTP {code}: the server rejects the user or password in --user-file {self.user_file}"
            if self.token_file:
                return f"HTTP {code}: the server rejects the token in --token-file {self.token_file}"
            return f"HTTP {code}: the server requires credentials; give --user-file or --token-file"
        if code == 400 and "HTTPS" in detail.upper():  # ours, Go's and others' servers say so
            return "the server expects TLS: use https:// in --url"
        if code == 429:
            wait = response.headers.get("retry-after", "")
            return "HTTP 429: too many requests or wrong passwords from this address" + (f"; wait {wait} s" * wait.isdecimal())
        return detail if detail and code == 503 else f"HTTP {code} {response.reason}"

    def _tls(self, name: str) -> str:
        if any(each in name for each in _PLAIN_ANSWERS):
            return "the server expects plain HTTP: use http:// in --url"
        if "CERTIFICATE_REQUIRED" in name:
            return "the server requires a client certificate; give --cert-file and --key-file"
        if name.startswith("[SYS]") or "EOF" in name:
            return self._hung_up()
        plain = name.lower().replace("_", " ")
        if "ALERT" in name and self.cert_file:
            return f"the server rejects the client certificate in --cert-file {self.cert_file} ({plain})"
        return f"TLS failed: {plain}"

    def _hung_up(self) -> str:
        """It went without an answer: its reason may have been lost with the connection."""
        if not self.url.startswith("https://"):
            return "the server closed the connection without a response; if it expects TLS, use https:// in --url"
        if self.cert_file:
            return (
                "the server closed the connection without a response; it may have rejected the client certificate in "
                f"--cert-file {self.cert_file}"
            )
        return (
            "the server closed the connection without a response; if it requires a client certificate, give --cert-file "
            "and --key-file"
        )

    def _check_files(self) -> None:
        if self.key_file and not self.cert_file:
            raise UsageError("--key-file: expected together with --cert-file")
        for files, tls, otherwise in (
            (f"--ca-file {self.ca_file}", TlsFiles(self.ca_file), "expected a certificate in PEM, found none"),
            (
                f"--cert-file {self.cert_file}" + (f", --key-file {self.key_file}" if self.key_file else ""),
                TlsFiles(self.ca_file, self.cert_file, self.key_file),
                "expected a certificate and its key in PEM",
            ),
        ):
            try:
                tls.context()
            except (OSError, ValueError) as error:
                raise UsageError(f"{files}: {_why(error, otherwise)}") from None


class AgentStatusError(HttpError):
    """A response with another status than 2xx."""

    def __init__(self, root: str, response: HttpResponse) -> None:
        super().__init__(root, f"HTTP {response.status}")
        self.response = response


def _why(error: Exception, otherwise: str) -> str:
    if isinstance(error, ssl.SSLError):
        return otherwise + (f" ({error.reason.lower().replace('_', ' ')})" if error.reason else "")
    return getattr(error, "strerror", None) or str(error)
