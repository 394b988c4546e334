"""Access settings of a web server: web-config file, certificates and bearer token, reread when a file changes.

Files are checked when a client connects, at most once per second. If a reread file is invalid, the last valid settings stay,
the log states the reason once, and `ok` is False until the files are valid.
"""

import logging
import re
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from energy_agent.config.agent import Web
from energy_agent.core.errors import UsageError
from energy_agent.runtime.files.secret_file import read_secret
from energy_agent.web import auth, web_config
from energy_agent.web.web_config import SUITES, TlsServer, WebConfig

if TYPE_CHECKING:
    import ssl

LOOK_S = 1.0
Seen = dict[Path, tuple[int, ...]]
"""Of each file what changes when it does, taken before it was read."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,2048}=*")  # RFC 6750, 2.1; a shorter one can be guessed
_log = logging.getLogger("wattlens.web")


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


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """One state of the files; the default is plain HTTP for everyone."""

    context: "ssl.SSLContext | None" = None  # None: plain HTTP
    allowed_sans: frozenset[str] | None = None  # of which a client's certificate has one; None: it may have any
    credentials: auth.Credentials = field(default_factory=auth.Credentials)
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what the operator should know

    @property
    def protected(self) -> bool:
        """Not everyone who reaches the port can read /metrics, or not in the clear."""
        return self.context is not None or self.credentials.needed


class AccessControl:
    """The current access settings. Any thread may call."""

    def __init__(self, web: Web, look_s: float = LOOK_S, *, may_wait: bool = False) -> None:
        """Read all files.

        Args:
            web: the section.
            look_s: a change is looked for so often at most.
            may_wait: where a file is missing or wrong, be closed until `open` finds it right.

        Raises:
            UsageError: one of the files is missing or wrong, and `may_wait` is not set.
        """
        self._lock = threading.Lock()
        self._web, self._look_s, self._look_at_s = web, look_s, time.monotonic() + look_s
        self._file_states: Seen = {}
        self._terms, self._closed, self.ok = AccessSettings(), True, False
        try:
            self.open()
        except UsageError:
            if not may_wait:
                raise

    def open(self) -> None:
        """Read the files that were wrong so far; nobody is served before.

        Raises:
            UsageError: one of them still is.
        """
        with self._lock:
            if self._closed:
                file_states: Seen = {}
                self._take(self._web, read(self._web, file_states), file_states)

    def terms(self) -> AccessSettings:
        """What holds for a client that comes now."""
        if time.monotonic() >= self._look_at_s and self._lock.acquire(blocking=False):
            try:
                self._look_at_s = time.monotonic() + self._look_s
                if any(_state(path) != state for path, state in self._file_states.items()):
                    self._reload(self._web)
            finally:
                self._lock.release()
        return self._terms

    def configure(self, web: Web) -> None:
        """Take over another section, or read the same files again; what is wrong is logged and changes no terms."""
        with self._lock:
            self._reload(web)

    def _reload(self, web: Web) -> None:
        file_states: Seen = {}
        try:
            terms = read(web, file_states)
            if self._terms.protected and not terms.protected:  # an editor that empties a file before it writes it
                where = web.config_file or self._web.config_file or "web"
                raise UsageError(
                    f"{where}: TLS and credentials were removed; restart the agent to serve /metrics without protection"
                )
        except UsageError as error:
            self.ok = False
            self._file_states |= file_states  # once for each change; a new file that was missing is looked for too
            _log.error("web configuration not reloaded, the previous one stays in use: %s", error)
            return
        self._take(web, terms, file_states)
        if file_states:
            _log.info("web configuration reloaded")

    def _take(self, web: Web, terms: AccessSettings, file_states: Seen) -> None:
        self._web, self._terms, self._file_states, self.ok, self._closed = web, terms, file_states, True, False
        for note in terms.notes:
            _log.warning("%s", note)


def read(web: Web, file_states: Seen) -> AccessSettings:
    """Read every file of the section, and note in `file_states` what it was before it was read.

    Raises:
        UsageError: one line that names the file and what to do.
    """
    config, token, notes = WebConfig(), "", []
    if web.config_file is not None:
        file_states[web.config_file] = _state(web.config_file)
        config = web_config.load(web.config_file)
    server = config.tls_server_config
    try:
        for path in filter(None, (server.cert_file, server.key_file, server.client_ca_file)):
            file_states[path] = _state(path)
            _require_file(path)
        context = context_of(server)
        if config.basic_auth_users:
            auth.library()
    except UsageError as error:
        raise UsageError(f"{web.config_file}: {error}") from None
    if server.key_file is not None and server.key_file.stat().st_mode & stat.S_IROTH:
        notes.append(f"{web.config_file}: everyone on this machine can read key_file {server.key_file}")
    if web.bearer_token_file is not None:
        file_states[web.bearer_token_file] = _state(web.bearer_token_file)
        token = _token(web.bearer_token_file)
    credentials = auth.Credentials(config.basic_auth_users, token)
    if credentials.needed and context is None and not web.listen.startswith(("127.", "[::1]", "localhost:")):
        notes.append("passwords and tokens are sent in clear text: web.config_file has no tls_server_config")
    sans = None if server.client_allowed_sans is None else frozenset(server.client_allowed_sans)
    headers: dict[str, str] = {name: value for name, value in config.http_server_config.headers.items() if value}
    return AccessSettings(context, sans, credentials, headers, tuple(notes))


def _token(path: Path) -> str:
    _require_file(path)
    token = read_secret(path, "web.bearer_token_file").strip()
    if path.stat().st_mode & stat.S_IROTH:
        raise UsageError(
            f"everyone on this machine can read web.bearer_token_file {path}: chmod o-r (in Kubernetes: defaultMode: "
            "0440 of the secret's volume)"
        )
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"web.bearer_token_file {path}: expected one line of 16 to 2048 letters, digits and ._~+/- (RFC 6750)")
    return token


def _require_file(path: Path) -> None:
    if path.is_fifo():  # nobody may ever write to it
        raise UsageError(f"{path}: expected a file, got a pipe")


def _state(path: Path) -> tuple[int, ...]:
    """Another one after a change, also by a rename or by a link that points elsewhere."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        return (-(getattr(error, "errno", None) or 1),)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
