"""The public names of Wattlens."""

import inspect
import pydoc
import subprocess
import sys
from typing import Self

import wattlens


def test_every_public_name_is_there_and_documented():
    for name in wattlens.__all__:
        assert getattr(wattlens, name) is not None
        if not name.startswith("__"):
            assert f"\n{name} " in wattlens.__doc__


def test_completion_and_help_show_the_public_names():
    assert dir(wattlens) == sorted(wattlens.__all__)
    assert dir(wattlens.hooks) == sorted(wattlens.hooks.__all__)
    text = pydoc.plain(pydoc.render_doc(wattlens))
    for line in ("class measure(", "class training(", "class steered(", "request_energy(", "model_card(", "compare("):
        assert line in text, line


def test_measure_is_typed():
    """What an editor needs to complete `m.` in `with measure() as m`."""
    for function in (wattlens.measure.__new__, wattlens.measure.__enter__, wattlens.measure.prepare):
        assert inspect.signature(function).return_annotation in (Self, "Self")


def test_importing_wattlens_loads_nothing_else():
    code = "import sys, wattlens; print(sum(m.startswith(('energy_agent', 'dvfs', 'reports')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"
