"""Which pynvml we accept, and how a machine without a driver looks. What the calls do is in tests/contracts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml

ROOT = Path(__file__).parents[4]


def run(code: str, python_path: Path | str = "") -> str:
    """Standard output of a fresh interpreter without the simulated node's library."""
    environment = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "WATTLENS_SIM")}
    environment["PYTHONPATH"] = f"{python_path}:{ROOT}"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


REFUSED = """
from energy_agent.core.errors import WattlensError
from energy_agent.devices.nvml.library import RealNvml
try:
    RealNvml().init()
except WattlensError as error:
    print(error.exit_code, getattr(error, "name", ""), error)
"""


def test_the_unofficial_pynvml_is_refused(tmp_path):
    (tmp_path / "pynvml.py").write_text("def nvmlInit(): pass\n")
    assert run(REFUSED, tmp_path).startswith("2  an unofficial pynvml")


def test_a_missing_pynvml_is_told(tmp_path):
    (tmp_path / "pynvml.py").write_text("raise ImportError('none')\n")
    assert "pip install nvidia-ml-py" in run(REFUSED, tmp_path)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA driver")
def test_a_machine_without_the_driver_says_so():
    assert run(REFUSED).startswith("1 LIBRARY_NOT_FOUND")


def test_a_library_that_cannot_be_loaded_is_told(tmp_path):
    with pytest.raises(NvmlError) as error:
        RealNvml(tmp_path / "none.so")
    assert error.value.code == abi.LIBRARY_NOT_FOUND


def test_importing_the_module_loads_no_pynvml():
    assert run("import sys, energy_agent.devices.nvml.library; print('pynvml' in sys.modules)").strip() == "False"
