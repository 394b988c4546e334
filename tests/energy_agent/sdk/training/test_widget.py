"""The notebook's view: what is not known is a dash and a reason, and the text says what the picture does."""

import subprocess
import sys

import pytest

from energy_agent.sdk.training.progress import Status
from energy_agent.sdk.training.widget import format_status, number, text
from tests.support import need_module

KNOWN = Status("agent", 48_230.5, 612.0, 1820, 7_454_720, 2.3417, "ml/llama", "")
KEYS = ("power", "energy", "per_token", "per_step", "loss")
UNKNOWN = Status("", None, None, 12, 0, None, "", "NVML: Driver Not Loaded")


def test_numbers_have_four_digits_and_what_is_not_known_is_a_dash_with_its_reason():
    for value, digits in {None: "-", 0.0: "0", 0.00646979: "0.00647", 612.0: "612", 48_230.5: "48,230"}.items():
        assert number(value) == digits
    fields = format_status(UNKNOWN, "")
    assert {fields[key] for key in KEYS} == {"-"}
    assert fields["note"] == UNKNOWN.reason
    assert text(UNKNOWN, "").endswith("(NVML: Driver Not Loaded)")
    line, fields = text(KNOWN, "llama-8b"), format_status(KNOWN, "llama-8b")
    assert all(fields[key] in line for key in KEYS)
    assert "all of ml/llama on this node" in fields["note"]


@pytest.mark.peer
def test_the_widget_follows_the_run():
    need_module("anywidget")
    code = """
import re
from energy_agent.sdk.training.progress import Status
from energy_agent.sdk.training.widget import live_view
steps = [0]
def status():
    steps[0] += 1
    return Status("agent", 10.0 * steps[0], 500.0, steps[0], 100 * steps[0], 2.0, "w", "")
view = live_view(status, "m")
view.refresh(); view.refresh()
assert view.history["power"][-2:] == [500.0, 500.0]
assert view.shown_values["energy"] == "30" or int(view.shown_values["energy"]) > 30
assert "J so far" in repr(view) and view.text.startswith("m: 500 W")
assert set(re.findall(r'model\\.get\\("(\\w+)"\\)', view._esm)) == {"shown_values", "history", "text"} <= set(view.keys)
assert "render" in view._esm and ".wattlens" in view._css
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
