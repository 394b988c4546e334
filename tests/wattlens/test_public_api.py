"""The public names of Wattlens."""

import subprocess
import sys

import wattlens
from energy_agent.sdk.hooks import torch


def test_every_public_name_is_there_and_documented():
    for name in wattlens.__all__:
        assert getattr(wattlens, name) is not None
        if not name.startswith("__"):
            assert f"\n{name} " in wattlens.__doc__


def test_importing_wattlens_loads_nothing_else():
    code = "import sys, wattlens; print(sum(m.startswith(('energy_agent', 'dvfs', 'reports')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout == "0\n"


def test_hooks_are_those_of_the_sdk():
    assert wattlens.hooks.torch.attach is torch.attach
