"""Settings of every test: the same Hypothesis examples each time, limits of time, the order of files, workers, and Ctrl-C."""

import gc
import importlib
import os
import signal
import time
import zlib
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import added_s, stalled_s

# `make test` draws the same examples each time, `make test-all` the same and as many again; `make proof` draws others with
# --hypothesis-profile=random, and what it finds becomes an @example. The time of an example never fails it.
settings.register_profile("wattlens", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("wattlens"), max_examples=20)
settings.register_profile("random", settings.get_profile("wattlens"), derandomize=False, print_blob=True)
settings.load_profile("wattlens")

# Each of the hundreds of processes that tests start would look for plugins in the metadata of every installed package.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; what tests interrupt would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _interrupts_as_before():
    """A command that ran in the test's own process and was interrupted ignores Ctrl-C from then on, as its process ends."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(settings: Any) -> Any:
    """The limit of a test is longer on a busy machine; the processes that it starts need no limit of their own."""
    start, before_s = time.monotonic(), stalled_s()
    answer = yield
    fail = signal.getsignal(signal.SIGALRM)

    def fail_or_wait(number: int, frame: FrameType | None) -> None:
        left_s = start + settings.timeout + added_s(before_s) - time.monotonic()
        if left_s > 0:
            signal.setitimer(signal.ITIMER_REAL, max(left_s, 1.0))
        elif callable(fail):
            fail(number, frame)

    if callable(fail):
        signal.signal(signal.SIGALRM, fail_or_wait)
    return answer


@pytest.fixture(autouse=True)
def _environment_as_before():
    """A command that ran in the test's own process leaves none of its variables, such as WATTLENS_SIM, to later tests."""
    before = dict(os.environ)
    yield
    if os.environ != before | {"PYTEST_CURRENT_TEST": os.environ.get("PYTEST_CURRENT_TEST", "")}:
        os.environ.clear()
        os.environ.update(before)


def pytest_collection(session: pytest.Session) -> None:
    """Workers import the test modules, each from another one on: it compiles its share of a fresh clone and reads the rest."""
    gc.disable()  # a million objects that all stay are made, and looking for cycles among them takes as long as making them
    tests, worker = Path(__file__).parent, getattr(session.config, "workerinput", None)
    if worker is None or [Path(each).resolve() for each in session.config.args] != [tests]:
        return
    names = [".".join(path.relative_to(tests.parent).with_suffix("").parts) for path in sorted(tests.rglob("test_*.py"))]
    first = len(names) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for name in names[first:] + names[:first]:
        with suppress(Exception, pytest.skip.Exception):  # which is for the collection to report
            importlib.import_module(name)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with a limit of their own are the long ones: they begin early, so that no worker is left with one at the end.

    They wait for processes, so each has one of the others next to it, which compute; those come from all folders in turn.
    Where peers run, long files need the cores themselves, and all come first.
    """
    limit_s: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        limit_s[item.path] = max(limit_s.get(item.path, 0), float(mark.args[0]) if mark and mark.args else 0)
    long = sorted((path for path in limit_s if limit_s[path]), key=lambda path: -limit_s[path])
    others = sorted((path for path in limit_s if not limit_s[path]), key=lambda path: zlib.crc32(path.name.encode()))
    in_turn = [path for pair in zip_longest(long, others) for path in pair if path]
    place = {path: i for i, path in enumerate([*long, *others] if _has_peers(config) else in_turn)}
    items.sort(key=lambda item: place[item.path])


@pytest.hookimpl(optionalhook=True)  # no test needs xdist to run
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers for `-n auto`: three per core, as most tests wait for processes.

    Two if peers run as well, because peers need the cores. At most 16, as each worker collects all tests.
    """
    a_core = 2 if _has_peers(config) else 3
    return min(a_core * len(os.sched_getaffinity(0)), 16)


def _has_peers(config: pytest.Config) -> bool:
    return "not peer" not in config.option.markexpr
