"""A folder on any file system of fsspec; the only module that uses fsspec."""

from typing import Any

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import quoted_address


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        UsageError: no such protocol, its package is not installed, or the URL has a password, which messages and reports
            would print.
        WattlensError: its server does not answer.
    """
    if ":" in url.partition("://")[2].rpartition("@")[0]:
        raise UsageError(f"{quoted_address(url)}: a URL with a password; put it where the store's own library looks for it")
    try:
        import fsspec
    except ImportError:
        raise UsageError(f"a ledger URL requires the extra `ledger`: {install_hint('ledger')}") from None
    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{url}: {error}") from None
    except OSError as error:  # of a protocol that connects first, such as ftp
        raise WattlensError(f"{url}: {(error.strerror or str(error)).lower()}") from None
    return system, root
