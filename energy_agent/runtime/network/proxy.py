"""HTTP proxies of the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as curl and Go read them.

The name in lower case comes first. NO_PROXY lists host names (with everything below them), addresses, networks such as
10.0.0.0/8, each with an optional port, or `*`. Requests to the machine itself never use a proxy, as in Go.
"""

import base64
import ipaddress
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `authorization` is the value of `Proxy-Authorization`, "" for none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"proxy {self.host}:{self.port}"


def find_proxy(scheme: str, host: str, port: int, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy for requests to a server; None: connect to it.

    >>> find_proxy("http", "prometheus", 9090, {"http_proxy": "http://cache:3128", "no_proxy": ".lan"})
    Proxy(host='cache', port=3128)

    Raises:
        ValueError: the address is not http://[USER:PASSWORD@]HOST[:PORT]; the text names the variable only, as the address
            may have a password.
    """
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
        if text := environ.get(name, "").strip():
            break
    else:
        return None
    if _is_excluded(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    with suppress(ValueError):
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme == "http" and parts.hostname:
            user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            secret = base64.b64encode(user.encode()).decode("ascii")
            return Proxy(parts.hostname, parts.port or 80, f"Basic {secret}" if parts.username else "")
    raise ValueError(f"{name}: expected http://[USER:PASSWORD@]HOST[:PORT]")


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    host = host.lower().rstrip(".")
    address = None
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in no_proxy.lower().replace(",", " ").split():
        name, colon, tail = entry.rpartition(":")
        if colon and tail.isascii() and tail.isdigit() and (":" not in name or name.endswith("]")):
            if int(tail[:6]) != port:
                continue
            entry = name
        entry = entry.strip("[]")
        if entry == "*":
            return True
        if address is not None:
            with suppress(ValueError):
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
        elif (domain := entry.removeprefix("*").strip(".")) and (host == domain or host.endswith(f".{domain}")):
            return True
    return False
