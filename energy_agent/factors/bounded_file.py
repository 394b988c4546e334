"""A file that somebody names in a configuration: read whole, up to a bound, and never waited for."""

import os
import stat
from pathlib import Path

from energy_agent.core.errors import UsageError


def read(path: Path, most_b: int) -> bytes:
    """The bytes of an ordinary file.

    Raises:
        UsageError: it cannot be read, is a pipe, folder or device, or is larger than `most_b`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for ever
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UsageError(f"{path}: expected a regular file")
            raw = file.read(most_b + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > most_b:
        raise UsageError(f"{path} is larger than {most_b} bytes")
    return raw
