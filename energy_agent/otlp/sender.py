"""Sends the newest snapshot to an OpenTelemetry receiver, from a thread that nothing waits for.

There is no queue: counters are totals, so an export that fails loses nothing that the next one does not have. At most one
request is open, and at most one snapshot is in memory besides the agent's own. A missing file or package is a reason for failed
exports too, and is looked for again at the next one: metering does not depend on it.
"""

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from energy_agent.config.otlp import Otlp
from energy_agent.core.energy import SourceHealth
from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.exposition.openmetrics import families as agent_families
from energy_agent.otlp.exported import ExportedSnapshot, Families
from energy_agent.runtime.threads import start_thread

_LOG = logging.getLogger("wattlens")
_HEADER: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}):[ \t]*([\x20-\x7e]{1,4096})")
_HEADERS_MAX: Final = 32
_FILE_LIMIT_B: Final = 64 << 10
_LAST_S: Final = 0.5
"""How long the agent's end waits for the last export."""


class OtlpSender:
    """Exports by the configuration `otlp`, which must name an endpoint.

    Args:
        config: the section.
        source: the newest snapshot, None before the first; must not wait.
        families: its samples.
    """

    def __init__(
        self, config: Otlp, source: Callable[[], ExportedSnapshot | None], families: Families = agent_families
    ) -> None:
        """Nothing is sent before `start`."""
        self._config, self._source, self._families = config, source, families
        self._reason = "nothing has been exported yet"
        self._success_ns: int | None = None
        self._export: Callable[[ExportedSnapshot], str] | None = None
        self._sent: ExportedSnapshot | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)

    def start(self) -> None:
        """Export each period, in the background."""
        start_thread(self._thread)

    def stop(self) -> None:
        """Export once more, and end; waits for half a second at most."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST_S)

    def health(self) -> tuple[SourceHealth, ...]:
        """The receiver as a source: up after an export that succeeded."""
        return (SourceHealth("otlp", not self._reason, "", self._reason, self._success_ns),)

    def _run(self) -> None:
        while not self._ended.wait(self._config.period_s):
            self._send()
        self._send()

    def _send(self) -> None:
        snapshot = self._source()
        if snapshot is None or snapshot is self._sent:
            return
        try:
            self._export = self._export or _exporter(self._config, self._families)
            reason = self._export(snapshot)
        except UsageError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a defect costs exports, and nothing else
            reason = f"cannot export the last snapshot: {type(error).__name__}: {error}"
        if reason != self._reason:
            if reason:
                _LOG.warning("otlp: %s: %s (metering continues; the next export has the same data)", self._config.url(), reason)
            elif self._success_ns is not None:
                _LOG.info("otlp: %s accepts exports again", self._config.url())
            else:
                _LOG.info("otlp: exporting to %s every %g s", self._config.url(), self._config.period_s)
        self._reason = reason
        if not reason:
            self._sent, self._success_ns = snapshot, snapshot.t_ns


def read_headers(path: Path | None, setting: str = "key 'otlp.headers_file'") -> dict[str, str]:
    """Headers of the file that `setting` names, a line `Name: value` each; empty lines and lines that begin with # are skipped.

    Raises:
        UsageError: it cannot be read or a line is something else; the message never has its content.
    """
    if path is None:
        return {}
    key = f"{setting}: {path}"
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_LIMIT_B + 1).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{key}: {error.strerror if isinstance(error, OSError) else 'expected ASCII text'}") from None
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if len(text) > _FILE_LIMIT_B or len(lines) > _HEADERS_MAX:
        raise UsageError(f"{key}: expected at most {_HEADERS_MAX} lines and {_FILE_LIMIT_B >> 10} KiB")
    headers = {}
    for n, line in lines:
        parts = _HEADER.fullmatch(line)
        if parts is None:
            raise UsageError(f"{key}: line {n}: expected 'Name: value'")
        headers[parts[1]] = parts[2]
    return headers


def _exporter(config: Otlp, families: Families) -> Callable[[ExportedSnapshot], str]:
    """Exports a snapshot; returns why that failed, or ''.

    Raises:
        UsageError: the package of the exporter is not installed, or a file of the section cannot be used.
    """
    headers = read_headers(config.headers_file)
    for key in ("ca_file", "cert_file", "key_file"):
        file = getattr(config, key)
        try:
            if file is not None:
                file.open("rb").close()
        except OSError as error:
            raise UsageError(f"key 'otlp.{key}': {file}: {error.strerror}") from None
    try:
        from energy_agent.otlp.exporter import Exporter
    except ImportError as error:
        raise UsageError(f"otlp.endpoint needs an extra: {install_hint('otlp')} ({error})") from None
    return Exporter(config, headers, families)
