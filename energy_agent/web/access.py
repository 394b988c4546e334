"""What is in force: the web-config file, its certificates and the bearer token, read again when one of them changes.

A change is looked for when a client comes, at most once a second. What is wrong when read again changes nothing: the last good
state stays, the log says why once, and `ok` is False until the files are right.
"""

import logging
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.config.agent import Web
from energy_agent.core.errors import UsageError
from energy_agent.web import auth, tls, web_config
from energy_agent.web.limits import Bucket
from energy_agent.web.web_config import TlsServer, WebConfig

if TYPE_CHECKING:
    import ssl

LOOK_S = 1.0
Seen = dict[Path, tuple[int, ...]]
"""Of each file what changes when it does, taken before it was read."""
_log = logging.getLogger("wattlens.web")


@dataclass(frozen=True, slots=True)
class Terms:
    """One state of the files; the default is plain HTTP for everyone."""

    tls: TlsServer = field(default_factory=TlsServer)
    context: "ssl.SSLContext | None" = None  # None: plain HTTP
    credentials: auth.Credentials = field(default_factory=auth.Credentials)
    headers: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()  # what the operator should know
    limit: Bucket | None = None
    _limit_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def protected(self) -> bool:
        """Not everyone who reaches the port can read the page, or not in the clear."""
        return self.context is not None or self.credentials.needed

    def wait_s(self) -> float:
        """Takes one request out of the file's rate_limit: 0, or how long to wait where it is used up."""
        if self.limit is None:
            return 0.0
        with self._limit_lock:
            return 0.0 if self.limit.take(time.monotonic()) else self.limit.wait_s()


class Access:
    """The terms in force. Any thread may call."""

    def __init__(self, web: Web, look_s: float = LOOK_S, *, may_wait: bool = False) -> None:
        """Reads all files.

        Args:
            web: the section.
            look_s: a change is looked for so often at most.
            may_wait: where a file is missing or wrong, be closed until `open` finds it right.

        Raises:
            UsageError: one of the files is missing or wrong, and `may_wait` is not set.
        """
        self._lock = threading.Lock()
        self._web, self._look_s = web, look_s
        self._seen: Seen = {}
        self._terms, self._closed, self.ok = Terms(), True, False
        self._look_at_s = time.monotonic() + look_s
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
                seen: Seen = {}
                self._terms = read(self._web, seen)
                self._seen, self._closed, self.ok = seen, False, True
                self._say()

    def terms(self) -> Terms:
        """What holds for a client that comes now."""
        if time.monotonic() >= self._look_at_s and self._lock.acquire(blocking=False):
            try:
                self._look_at_s = time.monotonic() + self._look_s
                if any(_state(path) != state for path, state in self._seen.items()):
                    self._set(self._web)
            finally:
                self._lock.release()
        return self._terms

    def configure(self, web: Web) -> None:
        """Take over another section, or read the same files again; what is wrong is logged and changes no terms."""
        with self._lock:
            self._set(web)

    def _set(self, web: Web) -> None:
        seen: Seen = {}
        try:
            terms = read(web, seen)
            if self._terms.protected and not terms.protected:  # an editor that empties a file before it writes it
                where = web.config_file or self._web.config_file or "web"
                raise UsageError(f"{where}: neither TLS nor credentials are left in it; to open the page to everyone, restart")
        except UsageError as error:
            self.ok = False
            self._seen |= seen  # once for each change; a new file that was missing is looked for too
            _log.error("web configuration not reloaded, the old one stays: %s", error)
            return
        self._web, self._terms, self._seen, self.ok, self._closed = web, terms, seen, True, False
        if seen:
            _log.info("web configuration reloaded")
        self._say()

    def _say(self) -> None:
        for note in self._terms.notes:
            _log.warning("%s", note)


def read(web: Web, seen: Seen) -> Terms:
    """Read every file of the section, and note in `seen` what it was before it was read.

    Raises:
        UsageError: one line that names the file and what to do.
    """
    config, notes = WebConfig(), []
    if web.config_file is not None:
        seen[web.config_file] = _state(web.config_file)
        config = web_config.load(web.config_file)
    server = config.tls_server_config
    context = None
    if server.enabled:
        for path in (server.cert_file, server.key_file, server.client_ca_file):
            if path is not None:
                seen[path] = _state(path)
        try:
            context = tls.context_of(server)
        except UsageError as error:
            raise UsageError(f"{web.config_file}: {error}") from None
        if server.key_file is not None and server.key_file.stat().st_mode & stat.S_IROTH:
            notes.append(f"{web.config_file}: everyone on this machine can read key_file {server.key_file}")
        if config.http_server_config.http2 and "http2" in config.http_server_config.model_fields_set:
            notes.append(f"{web.config_file}: http2: HTTP/2 is not spoken here; clients fall back to HTTP/1.1")
    if config.basic_auth_users:
        try:
            auth.need_library()
        except UsageError as error:
            raise UsageError(f"{web.config_file}: {error}") from None
    token = ""
    if web.bearer_token_file is not None:
        seen[web.bearer_token_file] = _state(web.bearer_token_file)
        token = auth.token_in(_secret(web.bearer_token_file), str(web.bearer_token_file))
    credentials = auth.Credentials(config.basic_auth_users, token)
    if credentials.needed and context is None and not web.listen.startswith(("127.", "[::1]", "localhost:")):
        notes.append("passwords and tokens cross the network in the clear: web.config_file has no tls_server_config")
    interval_s = config.rate_limit.interval_s
    limit = Bucket(1 / interval_s, config.rate_limit.burst, time.monotonic()) if interval_s else None
    return Terms(server, context, credentials, tuple(config.http_server_config.headers.items()), tuple(notes), limit)


def _secret(path: Path) -> str:
    """The text of a file that only its owner and group may read."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UsageError(f"web.bearer_token_file {path} is no ordinary file")
        if mode & stat.S_IROTH:
            raise UsageError(
                f"web.bearer_token_file {path} can be read by everyone on this machine: chmod o-r "
                "(in Kubernetes, defaultMode: 0440 of the secret's volume)"
            )
        with path.open("rb") as file:
            return file.read(4096).decode("latin-1")
    except OSError as error:
        raise UsageError(f"cannot read web.bearer_token_file {path}: {error.strerror}") from None


def _state(path: Path) -> tuple[int, ...]:
    """Another one after a change, also by a rename or by a link that points elsewhere."""
    try:
        found = path.stat()
    except OSError as error:
        return (-(error.errno or 1),)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
