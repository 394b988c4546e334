"""Fetches one metrics page over plain HTTP; whatever answers is not trusted: no redirect, bounded size, bounded time."""

import http.client
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from energy_agent.core.errors import UsageError
from energy_agent.sources.tokens._reading import TokenPageError

PAGE_LIMIT_B = 4 * 1024 * 1024
_CHUNK_B = 64 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to another host or scheme, so it is an error."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow nothing."""


def fetch(url: str, *, timeout_s: float = 2.0, limit_b: int = PAGE_LIMIT_B) -> str:
    """The page at `url` as text.

    The whole of it has to arrive within `timeout_s`, with one more `timeout_s` for a last read that stalls, and to fit in
    `limit_b`. Proxies of the environment are not used.

    Raises:
        UsageError: `url` is not an http:// address.
        TokenPageError: nobody answered, too slowly, too much, or not with status 200.
    """
    if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
        raise UsageError(f"metrics address {url!r} is not an http:// address")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    deadline = time.monotonic() + timeout_s
    body = bytearray()
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            while chunk := answer.read1(_CHUNK_B):
                body += chunk
                if len(body) > limit_b:
                    raise TokenPageError(f"metrics page {url} is larger than {limit_b} bytes")
                if time.monotonic() > deadline:
                    raise TokenPageError(f"metrics page {url} took longer than {timeout_s:g} s")
            missing = answer.length  # bytes that were announced and did not come; None where nothing was announced
    except urllib.error.HTTPError as error:
        error.close()
        raise TokenPageError(f"metrics page {url} answered with status {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise TokenPageError(f"metrics page {url} could not be read: {reason}") from error
    # A page cut within a number would look like a counter that fell; the format ends every line with a line feed.
    if missing:
        raise TokenPageError(f"metrics page {url} is not complete: {missing} bytes are missing")
    if not body.strip() or body.lstrip().startswith((b"<", b"{", b"[")):
        kind = "is empty" if not body.strip() else "is HTML or JSON"
        raise TokenPageError(f"{url} is no metrics page in Prometheus text format: it {kind}")
    if not body.endswith(b"\n"):
        raise TokenPageError(f"metrics page {url} is not complete: its last line has no end")
    return body.decode("utf-8", errors="replace")
