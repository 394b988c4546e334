"""Which pynvml we accept, and how a machine without a driver looks. What the calls do is in tests/contracts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.library import RealNvml
from tests.doubles.gpus import code_of

ROOT = Path(__file__).parents[4]


def run(code: str, python_path: Path | str = "") -> str:
    """Standard output of a fresh interpreter without the simulated node's library."""
    environment = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "WATTLENS_SIM")}
    environment["PYTHONPATH"] = f"{python_path}:{ROOT}"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout


REFUSED = """
from energy_agent.core.errors import WattlensError
from energy_agent.devices.nvml.library import RealNvml
try:
    RealNvml().init()
except WattlensError as error:
    print(error.exit_code, getattr(error, "name", ""), error)
"""


def test_an_unofficial_or_missing_pynvml_is_refused(tmp_path):
    for code, line in (("def nvmlInit(): pass", "2  an unofficial pynvml"), ("raise ImportError('none')", "nvidia-ml-py")):
        (tmp_path / "pynvml.py").write_text(code + "\n")
        assert line in run(REFUSED, tmp_path)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA driver")
def test_machine_without_the_driver_reports_library_not_found():
    assert run(REFUSED).startswith("1 LIBRARY_NOT_FOUND")


def test_unloadable_library_is_reported(tmp_path):
    assert code_of(RealNvml, tmp_path / "none.so") == abi.LIBRARY_NOT_FOUND


def test_importing_the_module_loads_no_pynvml():
    assert run("import sys, energy_agent.devices.nvml.library; print('pynvml' in sys.modules)").strip() == "False"
