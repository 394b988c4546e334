"""Parse the HTTP address of a server, as a user writes it in an option or a configuration file. Pure.

All addresses are parsed here: what `urlsplit` accepts and what it raises differ with the version of Python.
"""

from urllib.parse import SplitResult, urlsplit


def parse_address(url: str, *, allow_query: bool = False) -> SplitResult:
    """Parse an http:// or https:// URL without user and fragment; without a query too unless it is allowed.

    >>> parse_address("https://prometheus.example:9090/lab").port
    9090

    Raises:
        ValueError: it is not one; the text has what was expected and nothing of the URL, which may have a password.
    """
    wrong = any(c.isspace() or not c.isprintable() for c in url)  # before urlsplit, which drops some of them
    try:
        parts = urlsplit(url)
        wrong = wrong or parts.port == 0  # a port that is no number raises when it is read
    except ValueError:
        wrong, parts = True, urlsplit("")
    wrong = wrong or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or bool(parts.fragment)
    if wrong or (parts.query and not allow_query):
        without = "user and fragment" if allow_query else "user, query and fragment"
        raise ValueError(f"expected an http:// or https:// URL without {without}")
    return parts


def is_loopback(parts: SplitResult) -> bool:
    """Whether the address is on this machine, by its text alone: requests to it cross no network."""
    host = parts.hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def is_readable(parts: SplitResult) -> bool:
    """Whether everyone on the network path can read what is sent to the address."""
    return parts.scheme == "http" and not is_loopback(parts)
