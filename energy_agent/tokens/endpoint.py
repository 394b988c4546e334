"""Read the metrics endpoint of an inference server; lines that are not needed are dropped while they arrive.

A real response is small: 22 KB and 209 lines for one engine of vLLM 0.32, 18 KB and 151 lines for SGLang 0.5.23, of which 123
and 101 lines are kept. Data parallelism adds as much per rank: 64 ranks make 1.4 MB, of which 7,800 lines (0.9 MB) are kept.
"""

import re
import threading
import time
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult

from energy_agent.core.address import parse_address
from energy_agent.core.errors import UsageError
from energy_agent.core.text import quoted_address
from energy_agent.runtime.network.http import HttpClient, HttpCostError, HttpError, ResponseStream
from energy_agent.runtime.network.tls import SYSTEM_TLS, TlsFiles
from energy_agent.tokens.reading import EndpointError

BODY_LIMIT_B: Final = 4 << 20
LINES_LIMIT: Final = 10_000
KEPT_LIMIT_B: Final = 1 << 20
LINE_LIMIT_B: Final = 16 << 10
CPU_LIMIT_S: Final = 0.2
TIMEOUT_S: Final = 2.0
"""For the agent, which reads many endpoints."""
_COMMAND_S: Final = 10.0
"""For a command, which has nothing without the response of a busy server: the timeout that Prometheus has for a scrape."""
_SMALL_B: Final = 64 << 10
_LARGE: Final = threading.BoundedSemaphore(4)
"""Responses of which more than _SMALL_B is kept, at a time: many endpoints together stay within some megabytes."""


def check_url(url: str, option: str) -> SplitResult:
    """Parse the address of a metrics endpoint, which may have a query.

    Raises:
        UsageError: it is not valid; the text begins with `option`.
    """
    try:
        return parse_address(url, allow_query=True)
    except ValueError as error:
        raise UsageError(f"{option}: {error}, got {quoted_address(url)}") from None


def fetch(
    url: str,
    names: tuple[str, ...],
    *,
    tls: TlsFiles = SYSTEM_TLS,
    ca_option: str = "tokens.ca_file",
    timeout_s: float = _COMMAND_S,
    lines_limit: int = LINES_LIMIT,
    direct: bool = False,
) -> str:
    """Return the lines of the metrics endpoint at `url` with these names, as text.

    `tls` is for https; `ca_option` names the option with its authorities, for messages.
    `direct`: without a proxy of the environment.

    Raises:
        UsageError: `url` is not an http:// or https:// address.
        EndpointError: no response within `timeout_s`, status other than 200, not Prometheus text, or more than its bounds.
    """
    parts = check_url(url, "metrics endpoint")
    root = f"{parts.scheme}://{parts.netloc}"
    client = HttpClient(root, timeout_s, tls, ca_option, BODY_LIMIT_B, CPU_LIMIT_S, direct=direct)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = _Lines(url, names, lines_limit, time.monotonic() + timeout_s)
    try:
        with client.stream("GET", target, {"Accept": "text/plain"}) as response:
            if response.status != 200:
                raise EndpointError(f"{url} responded with status {response.status}")
            return lines.read(response)
    except HttpCostError:
        raise EndpointError(f"{url}: response too large: more than {CPU_LIMIT_S:g} s of CPU time to parse") from None
    except HttpError as error:
        raise EndpointError(f"{url}: {error.reason}") from None
    finally:
        lines.release()


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """Lines with one of these names, from the line feed before."""
    return re.compile(rb"\n[ \t]*(?:%s)(?=[{ \t])[^\n]*" % b"|".join(re.escape(name.encode()) for name in names))


class _Lines:
    """The lines that are kept of one response."""

    def __init__(self, url: str, names: tuple[str, ...], limit: int, deadline_s: float) -> None:
        self._url, self._find, self._limit, self._deadline_s = url, _pattern(names).finditer, limit, deadline_s
        self._kept: list[bytes] = []
        self._kept_b = 0
        self._is_large = False

    def read(self, response: ResponseStream) -> str:
        """Read the body; return the kept lines."""
        rest, has_text = b"\n", False
        for data in response.chunks():
            rest += data
            if not has_text and (text := rest.lstrip()):
                has_text = True
                if text.startswith((b"<", b"{", b"[")):
                    raise EndpointError(f"{self._url}: expected Prometheus text format, got HTML or JSON")
            end = rest.rfind(b"\n")
            if end > 0:
                self._keep(rest[:end])
                rest = rest[end:]
            if len(rest) > LINE_LIMIT_B:
                raise EndpointError(f"{self._url} has a line of more than {LINE_LIMIT_B} bytes")
        if not has_text:
            raise EndpointError(f"{self._url}: expected Prometheus text format, got an empty response")
        if len(rest) > 1:  # a line cut within a number would look like a counter that fell
            raise EndpointError(f"{self._url}: incomplete response: the last line does not end with a line feed")
        return b"".join((*self._kept, b"\n")).decode("utf-8", errors="replace")

    def release(self) -> None:
        """Let another large response be read."""
        if self._is_large:
            self._is_large = False
            _LARGE.release()

    def _keep(self, block: bytes) -> None:
        for match in self._find(block):
            self._kept.append(match[0])
            self._kept_b += len(match[0])
            if len(match[0]) > LINE_LIMIT_B:
                raise EndpointError(f"{self._url} has a line of more than {LINE_LIMIT_B} bytes")
            if len(self._kept) > self._limit or self._kept_b > KEPT_LIMIT_B:
                raise EndpointError(
                    f"{self._url}: response too large: more than {self._limit} lines or {KEPT_LIMIT_B} bytes of token metrics"
                )
        if self._kept_b > _SMALL_B and not self._is_large:
            if not _LARGE.acquire(timeout=max(0.0, self._deadline_s - time.monotonic())):
                raise EndpointError(f"{self._url} was not read in time: other endpoints have large responses")
            self._is_large = True
