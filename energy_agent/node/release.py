"""The request to let go of the driver for a while: a small file in the state folder, from an operator to the agent."""

import json
import os
import stat
from pathlib import Path

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S

RELEASE_FILE = "release.json"
MAX_B = 4096


def request(state: Path, seconds: int, clock: Clock) -> None:
    """Ask the agent of this state folder to keep off the driver for so long, until the next boot at most; 0: read again now.

    Raises:
        OSError: the file cannot be written.
    """
    draft = state / f"{RELEASE_FILE}.new"
    draft.unlink(missing_ok=True)  # whatever lies there, a link included, is not written through
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with os.fdopen(fd, "w") as file:
        json.dump({"until_boot_ns": clock.boot_ns() + seconds * NS_PER_S, "boot_id": clock.boot_id()}, file)
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
        body = json.loads(raw) if len(raw) <= MAX_B else {}
        until_boot_ns, of_boot = body["until_boot_ns"], body["boot_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        until_boot_ns = of_boot = None
    is_time = isinstance(until_boot_ns, int) and not isinstance(until_boot_ns, bool) and abs(until_boot_ns) < 1 << 63
    if not is_time or not isinstance(of_boot, str):
        raise ValueError(f"{path} is not a request that `wattlens agent release` writes; remove it")
    return bool(of_boot == clock.boot_id() and until_boot_ns > clock.boot_ns())
