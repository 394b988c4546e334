"""The driver's time of a program: the simulated library counts its calls."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cost import CALL_US, OTHER_CALL_US, driver_time
from tests.energy_agent.nodes import environ_of, make_plant

PROGRAM = """
import pynvml
pynvml.nvmlInit()
board = pynvml.nvmlDeviceGetHandleByIndex(0)
for _ in range(3):
    pynvml.nvmlDeviceGetUtilizationRates(board)
pynvml.nvmlDeviceGetMemoryInfo(board)
"""


def test_driver_time_is_that_of_the_counted_calls(tmp_path: Path) -> None:
    make_plant(tmp_path, 1).close()
    calls = tmp_path / "calls"
    calls.mkdir()
    before = driver_time(calls)
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ_of(tmp_path) | {"WATTLENS_SIM_CALLS": str(calls)}, check=True)
    count, driver_ms = driver_time(calls)
    assert before == (0, 0.0)
    assert count == 5  # the handle too
    assert driver_ms == pytest.approx((3 * CALL_US["nvmlDeviceGetUtilizationRates"] + 2 * OTHER_CALL_US) / 1e3)
