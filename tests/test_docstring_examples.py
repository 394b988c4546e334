"""Examples in docstrings print what they state, on a simulated node; every public name has one."""

import subprocess
import sys
from pathlib import Path

import wattlens
from tests.energy_agent.nodes import environ_of, make_plant

RUN = """
import doctest, sys
from importlib import import_module
from pathlib import Path
from energy_agent.sdk.measure import connection
connection.START_S = connection.ANSWER_S = 60.0
failed = 0
for folder in ("wattlens", "energy_agent", "dvfs", "dashboards", "reports", "tools"):
    for path in Path(folder).rglob("*.py"):
        if ">>> " in path.read_text():
            failed += doctest.testmod(import_module(".".join(path.with_suffix("").parts))).failed
sys.exit(failed)
"""


def test_examples_print_what_they_state(tmp_path: Path) -> None:
    with make_plant(tmp_path, 1):
        subprocess.run([sys.executable, "-c", RUN], env=environ_of(tmp_path), check=True)


def test_public_names_have_an_example() -> None:
    assert [name for name in wattlens.__all__[1:] if ">>> " not in getattr(wattlens, name).__doc__] == ["hooks"]
