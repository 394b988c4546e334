"""Settings of every test: the same Hypothesis examples each time, the order of files, the number of workers, and Ctrl-C."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# `make test` draws the same examples each time; `make proof` draws others with --hypothesis-profile=random, and what it finds
# becomes an @example. Neither judges by the time that an example takes: that depends on the machine's load.
settings.register_profile("wattlens", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", settings.get_profile("wattlens"), derandomize=False, print_blob=True)
settings.load_profile("wattlens")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; what tests interrupt would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a limit of their own are the long ones: they begin first, so that no worker is left with one at the end."""
    limit_s = dict.fromkeys((item.path for item in items), 0.0)
    for item in items:
        mark = item.get_closest_marker("timeout")
        limit_s[item.path] = max(limit_s[item.path], float(mark.args[0]) if mark and mark.args else 0)
    items.sort(key=lambda item: -limit_s[item.path])


@pytest.hookimpl(optionalhook=True)  # no test needs xdist to run
def pytest_xdist_auto_num_workers() -> int:
    """Workers of `-n auto`: two a core, as most tests wait for real processes; at most 16, as each collects all tests."""
    return min(2 * len(os.sched_getaffinity(0)), 16)
