"""The operator's request to release the driver for a while: a small file in the state folder."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S

RELEASE_FILE = "release.json"
MAX_B = 4096


@dataclass(frozen=True, slots=True)
class _Request:
    until_boot_ns: Annotated[int, Field(gt=-(1 << 63), lt=1 << 63)]
    boot_id: str


_REQUEST = TypeAdapter(_Request)


def request(state: Path, seconds: int, clock: Clock) -> None:
    """Ask the agent of this state folder to keep off the driver for so long, until the next boot at most; 0: read again now.

    Raises:
        OSError: the file cannot be written.
    """
    draft = state / f"{RELEASE_FILE}.new"
    draft.unlink(missing_ok=True)  # whatever lies there, a link included, is not written through
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with os.fdopen(fd, "wb") as file:
        file.write(_REQUEST.dump_json(_Request(clock.boot_ns() + seconds * NS_PER_S, clock.boot_id())))
    draft.replace(state / RELEASE_FILE)


def is_requested(state: Path, clock: Clock) -> bool:
    """Return whether the driver shall be left alone now. Reads hostile input, never waits.

    Raises:
        ValueError: the file is not such a request.
    """
    path = state / RELEASE_FILE
    if not os.path.lexists(path):  # nearly always, and asked every second
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    try:
        raw = os.read(fd, MAX_B + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    try:
        request = _REQUEST.validate_json(raw if len(raw) <= MAX_B else b"", strict=True)
    except ValidationError:
        raise ValueError(f"{path}: expected a request written by `wattlens agent release`; remove the file") from None
    return request.boot_id == clock.boot_id() and request.until_boot_ns > clock.boot_ns()
