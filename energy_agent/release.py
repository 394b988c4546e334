"""The request to let go of the driver for a while: a small file in the state folder, from an operator to the agent."""

import json
import os
import stat
from pathlib import Path

RELEASE_FILE = "release.json"
MAX_B = 4096


def request(state: Path, until_ns: int) -> None:
    """Ask the agent of this state folder to keep off the driver until then (UTC ns); the past: read again now.

    Raises:
        OSError: the file cannot be written.
    """
    draft = state / f"{RELEASE_FILE}.new"
    draft.unlink(missing_ok=True)  # whatever lies there, a link included, is not written through
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with os.fdopen(fd, "w") as file:
        json.dump({"until_ns": until_ns}, file)
    draft.replace(state / RELEASE_FILE)


def requested_until_ns(state: Path) -> int:
    """Until when (UTC ns) the driver shall be left alone; 0 without a request. Read as hostile input, never waits.

    Raises:
        ValueError: the file is not such a request.
    """
    path = state / RELEASE_FILE
    if not os.path.lexists(path):  # nearly always, and asked every second
        return 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    try:
        raw = os.read(fd, MAX_B + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    try:
        until_ns = json.loads(raw)["until_ns"] if len(raw) <= MAX_B else None
    except (ValueError, KeyError, TypeError, RecursionError):
        until_ns = None
    if not isinstance(until_ns, int) or isinstance(until_ns, bool) or abs(until_ns) >= 1 << 63:
        raise ValueError(f"{path} is not a request that `wattlens agent release` writes; remove it")
    return until_ns
