"""Secrets in files: a user name, a password or a token, one line each. Secrets come from nowhere else."""

from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError

_SECRET_LIMIT_B: Final = 4096


def read_secret(path: Path | None, key: str) -> str:
    """A user's name, a password or a token. `key` names the setting or, with its two hyphens, the option.

    Raises:
        UsageError: no file is named, or it cannot be read or is empty; the message never has its content.
    """
    setting = key if key.startswith("--") else f"key {key!r}"
    if path is None:
        raise UsageError(f"{setting} is missing")
    try:
        with path.open("rb") as file:
            text = file.read(_SECRET_LIMIT_B + 1).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected UTF-8 text"
        raise UsageError(f"{setting}: {path}: {reason}") from None
    if not text.strip() or len(text) > _SECRET_LIMIT_B or any(ord(c) < 32 for c in text):
        raise UsageError(f"{setting}: {path}: expected one line of at most {_SECRET_LIMIT_B} bytes")
    return text
