"""How an agent's page is reached: plain or TLS, with credentials or a certificate; and in words why it was not."""

import http.client
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.page import Page, parse, printable

MAX_PAGE_B = 16 << 20
MAX_SECRET_B = 4096
_PLAIN_ANSWERS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "UNEXPECTED_MESSAGE",
)
"""What OpenSSL says where plain HTTP answers a handshake, by its version."""


@dataclass(frozen=True, slots=True)
class Access:
    """How an agent's page is reached. The files hold secrets, which so never stand on a command line."""

    url: str
    ca_file: Path | None = None  # whom to believe, instead of the system's authorities
    user_file: Path | None = None  # one line, user:password
    token_file: Path | None = None  # one line, a bearer token
    cert_file: Path | None = None  # our own certificate chain, where the agent asks for one
    key_file: Path | None = None  # its key; None: in cert_file too

    def opener(self) -> Callable[[float], bytes]:
        """What fetches the page's bytes within a time-out in seconds, and raises OSError or ValueError where none comes.

        Raises:
            UsageError: the address is none, or a file cannot be read or is not what its option wants.
        """
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(f"--url {self.url!r} is not http://HOST:PORT or https://HOST:PORT")
        if self.user_file and self.token_file:
            raise UsageError("--user-file and --token-file: give one of them")
        bare = self.url.partition("://")[2].rstrip("/")
        request = urllib.request.Request(self.url if "/" in bare else f"{self.url.rstrip('/')}/metrics")  # noqa: S310
        if self.user_file:
            secret = _secret(self.user_file, "--user-file")
            if ":" not in secret:
                raise UsageError(f"--user-file {self.user_file}: one line user:password is wanted; it has no colon")
            request.add_unredirected_header("Authorization", f"Basic {b64encode(secret.encode()).decode()}")
        if self.token_file:
            request.add_unredirected_header("Authorization", f"Bearer {_secret(self.token_file, '--token-file')}")
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # an agent is reached directly
        if self.url.startswith("https://"):
            handlers.append(urllib.request.HTTPSHandler(context=self._context()))
        elif unused := [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name)]:
            raise UsageError(f"--{unused[0].replace('_', '-')} is for https://, and --url is {self.url}")
        director = urllib.request.build_opener(*handlers)

        def fetch(timeout_s: float) -> bytes:
            try:
                with director.open(request, timeout=timeout_s) as answer:
                    body: bytes = answer.read(MAX_PAGE_B)
                    if answer.length:  # or too long
                        raise ValueError("the page is cut off")
            except http.client.HTTPException as error:
                if isinstance(error, OSError):
                    raise
                raise ValueError(f"no HTTP: {type(error).__name__}") from None
            return body

        return fetch

    def why_not(self, error: Exception) -> str:
        """Why a page could not be read, in words that name the option to change."""
        if isinstance(error, urllib.error.HTTPError):
            return self._refused(error)
        reason = error.reason if isinstance(error, urllib.error.URLError) else error  # an SSLError has a reason too: a word
        if isinstance(reason, TimeoutError):
            return "no answer in time"
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({reason.verify_message}); " + (
                f"--ca-file {self.ca_file} does not vouch for it" if self.ca_file else "give --ca-file"
            )
        if isinstance(reason, ssl.SSLError):
            return self._tls(reason)
        if isinstance(error, ValueError):
            return "what it answers is no metrics page"
        if isinstance(reason, ConnectionResetError | BrokenPipeError | http.client.RemoteDisconnected):
            return self._hung_up()
        return getattr(reason, "strerror", None) or str(reason) or type(error).__name__

    def _refused(self, error: urllib.error.HTTPError) -> str:
        with error:
            said = printable(error.read(200).decode("utf-8", "replace").strip().partition("\n")[0])
        if error.code in (401, 403):
            if self.user_file:
                return f"HTTP {error.code}: it refuses the user or password in --user-file {self.user_file}"
            if self.token_file:
                return f"HTTP {error.code}: it refuses the token in --token-file {self.token_file}"
            return f"HTTP {error.code}: it wants credentials; give --user-file or --token-file"
        if error.code == 400 and "HTTPS" in said.upper():  # ours, Go's and others' servers say so
            return "it speaks TLS: say https:// in --url"
        if error.code == 429:
            wait = error.headers.get("Retry-After", "")
            return "HTTP 429: too many requests or wrong passwords from here" + (f"; wait {wait} s" * wait.isdecimal())
        return said if said and error.code == 503 else f"HTTP {error.code} {error.reason}"

    def _tls(self, reason: ssl.SSLError) -> str:
        name = (reason.reason or str(reason)).upper()
        if any(each in name for each in _PLAIN_ANSWERS):
            return "it speaks plain HTTP: say http:// in --url"
        if "CERTIFICATE_REQUIRED" in name:
            return "it wants a certificate of ours; give --cert-file and --key-file"
        if name.startswith("[SYS]") or "EOF" in name:
            return self._hung_up()
        plain = name.lower().replace("_", " ")
        if "ALERT" in name and self.cert_file:
            return f"it refuses our certificate, --cert-file {self.cert_file} ({plain})"
        return f"TLS failed: {plain}"

    def _hung_up(self) -> str:
        """It went without an answer: its reason may have been lost with the connection."""
        if not self.url.startswith("https://"):
            return "it closed the connection without an answer; if it speaks TLS say https:// in --url"
        if self.cert_file:
            return f"it closed the connection without an answer; it may refuse our certificate, --cert-file {self.cert_file}"
        return "it closed the connection without an answer; if it wants a certificate of ours give --cert-file and --key-file"

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"--ca-file {self.ca_file}: {_why(error, 'no certificate in PEM')}") from None
        if self.key_file and not self.cert_file:
            raise UsageError("--key-file needs --cert-file")
        if self.cert_file:
            files = f"--cert-file {self.cert_file}" + (f", --key-file {self.key_file}" if self.key_file else "")
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise UsageError(f"{files}: {_why(error, 'they are no certificate and its key in PEM')}") from None
        return context


def read_page(url: str, t_s: float) -> Page:
    """Read the page of our own agent.

    Raises:
        OSError: nobody answers, or not with a page.
    """
    return parse(Access(url).opener()(2.0).decode(), t_s)


def _why(error: Exception, otherwise: str) -> str:
    if isinstance(error, ssl.SSLError):
        return otherwise + (f" ({error.reason.lower().replace('_', ' ')})" if error.reason else "")
    return getattr(error, "strerror", None) or str(error)


def _no_password(*_: object) -> str:
    raise ValueError("the key is encrypted, and its password is not asked for")


def _secret(path: Path, option: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_SECRET_B).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option} {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    if not text or not text.isprintable():
        raise UsageError(f"{option} {path}: one line of printable text is wanted")
    return text
