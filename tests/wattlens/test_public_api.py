"""The public names of Wattlens, and the former ones, which work for one release and warn."""

import importlib
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("former", "name", "value"),
    [
        ("energy_agent.client.hook_torch", "attach", torch.attach),
    ],
)
def test_a_former_path_works_and_names_the_new_one(former, name, value):
    module = importlib.import_module(former)
    with pytest.warns(DeprecationWarning, match="has moved to wattlens"):
        assert getattr(module, name) is value
    with pytest.raises(AttributeError):
        module.nothing_of_that_name  # noqa: B018
