"""What tests share: peers that must be there in CI, free ports, waiting with a bound."""

import importlib.util
import io
import math
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from energy_agent.core.errors import UsageError

T = TypeVar("T")
_LATER_S = 0.15  # between questions once the first second is over: each costs the process that answers
_BUSY_S = 120.0  # the maximum that is added to a bound where a core has as many processes to run as pytest itself starts
_OWN = 3.0  # processes per core that pytest starts, which are workers and what these wait for
_TEST_S = 40.0  # a test of one day takes a tenth of it on an idle machine
LONG_NUMBERS_REFUSED = hasattr(sys, "get_int_max_str_digits")
"""Whether this Python refuses integers of more than 4,300 digits; the release candidate of 3.11 in Ubuntu 22.04 reads them."""
ON_TORCH = {"accelerate", "pytorch_lightning", "torch", "transformers"}


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have every peer")
    pytest.skip(f"{what} is not installed")


def need_program(name: str) -> str:
    """Path of a peer program; skips on a user's machine and fails in CI where it is missing."""
    path = shutil.which(name)
    if path is None:
        _missing(name)
    assert path is not None
    return path


def prometheus_version() -> tuple[int, int]:
    """Of the installed promtool; Prometheus comes with it."""
    reply = subprocess.run([need_program("promtool"), "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"version (\d+)\.(\d+)", reply.stdout + reply.stderr)
    assert match, reply
    return int(match[1]), int(match[2])


def need_prometheus(feature: str, version: tuple[int, int]) -> None:
    """Skip where the installed Prometheus is older than the version that brought `feature`."""
    installed = prometheus_version()
    if installed < version:
        pytest.skip("{} needs Prometheus {}.{}, {}.{} is installed".format(feature, *version, *installed))


def at_modifier() -> list[str]:
    """Options of Prometheus and promtool for queries with `@ end()`, which 2.33 has by default."""
    return ["--enable-feature=promql-at-modifier"] if prometheus_version() < (2, 33) else []


def promtool_with(*words: str) -> list[str]:
    """Command line that begins with promtool; skips where it is older than one of the commands and options."""
    command = [need_program("promtool"), *(word for word in words if not word.startswith("-"))]
    reply = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    if reply.returncode or not all(word.partition("=")[0] in reply.stdout for word in words):
        pytest.skip("this promtool is older than: " + " ".join(words))
    return [command[0], *words]


def need_peer(name: str) -> Path:
    """Like need_program, for a program in the folder of unpacked peers, which the variable WATTLENS_PEERS names."""
    path = Path(os.environ.get("WATTLENS_PEERS") or "/nonexistent") / name
    if not os.access(path, os.X_OK):
        _missing(f"{name} (in the folder that WATTLENS_PEERS names)")
    return path


def need_environment(variable: str, content: str) -> str:
    """Program of a peer that has an environment of its own (tests/peers/environments.sh); `variable` names it.

    A variable that does not name a program is a failure.
    """
    program = os.environ.get(variable, "")
    if not program:
        _missing(f"{content} (which {variable} names)")
    if not os.access(program, os.X_OK):
        pytest.fail(f"{variable}: expected {content}, got {program}")
    return program


def need_module(name: str) -> None:
    """Like need_program, for a Python peer."""
    if importlib.util.find_spec(name) is None:
        if name in ON_TORCH and os.environ.get("WATTLENS_TORCH") == "no":
            pytest.skip(f"{name} is left out by TORCH=no")
        _missing(f"Python module {name}")


def need_file(path: Path, source: str) -> None:
    """Like need_program, for data that is not part of the project; `source` names its origin."""
    if not path.is_file():
        _missing(f"{path.name} ({source})")


def refusal(call: Callable[..., object], *arguments: object, error: type[Exception] = UsageError, **named: object) -> str:
    """The one line with which `call` refuses its arguments; fails where it takes them, or the line is more than one."""
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    line = str(caught.value)
    assert "\n" not in line
    return line


class Said(NamedTuple):
    """What a command answered."""

    returncode: int
    stdout: str
    stderr: str


def said_here(*arguments: object) -> Said:
    """What `wattlens ARGUMENTS` answers, run in this process: for commands that end by themselves and leave nothing behind."""
    from wattlens.cli import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(each) for each in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def examples(count: int, quick: int | None = None) -> int:
    """Number of random examples of a law: `count`, but in `make test` no more than of any other law.

    Args:
        quick: number in `make test` where an example is dear.
    """
    from hypothesis import settings  # processes that tests start import this module too

    if settings.get_current_profile_name() != "quick":
        return count
    return min(count, settings.get_profile("quick").max_examples) if quick is None else quick


def free_port() -> int:
    """Return a TCP port that was free on loopback a moment ago, below the range from which the kernel assigns ports."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def is_listening(port: int) -> bool:
    """Whether a process on this machine accepts connections at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def stay_within_a_day(ends: timedelta = timedelta(0)) -> None:
    """Wait until the next day has begun where that is less than a test's time away; days end at `ends` after midnight UTC."""
    day_s = timedelta(days=1).total_seconds()
    left_s = day_s - (time.time() - ends.total_seconds()) % day_s
    if left_s < _TEST_S:
        time.sleep(left_s)


def stalled_s() -> float:
    """Seconds in which processes of this machine waited for a CPU or a disk; NaN where the kernel does not count them."""
    try:
        lines = [Path(f"/proc/pressure/{name}").read_text().partition("\n")[0] for name in ("cpu", "io")]
        return sum(int(line.rpartition("total=")[2]) for line in lines) / 1e6
    except (OSError, ValueError):
        return math.nan


def added_s(before_s: float) -> float:
    """What a bound is longer by because the machine stalled since `stalled_s()` was `before_s`.

    Two minutes at most, and longer by as much as more processes want to run than pytest starts.
    """
    crowded = os.getloadavg()[0] / len(os.sched_getaffinity(0)) / _OWN
    since_s, most_s = stalled_s() - before_s, _BUSY_S * max(1.0, crowded)
    return most_s if math.isnan(since_s) else min(since_s, most_s)


def eventually(probe: Callable[[], T], seconds: float = 60.0, every: float = 0.05) -> T:
    """Return the first truthy result of `probe`, called less often after a second; fail with the last result after `seconds`.

    Time in which the machine made processes wait does not count, see `added_s`: a bound is for the code, not the machine.
    """
    start, before_s = time.monotonic(), stalled_s()
    while True:
        answer = probe()
        if answer:
            return answer
        over_s = time.monotonic() - start - seconds
        if over_s > 0 and over_s > added_s(before_s):
            pytest.fail(f"not within {seconds} s; last answer: {answer!r}")
        time.sleep(every if time.monotonic() < start + 1 else max(every, _LATER_S))
