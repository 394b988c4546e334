"""The example of dvfs-plant.md as it is on the page, under every policy that serves."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs/dvfs-plant.md"
CODE = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[1]


def test_the_example_is_short() -> None:
    assert len(CODE.splitlines()) <= 40


@pytest.mark.smoke
@pytest.mark.parametrize("policy", ["aimd", "bisect", "slo"])
def test_the_example_saves_energy_and_keeps_the_slo(policy: str, tmp_path: Path) -> None:
    (tmp_path / "plant.py").write_text(CODE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, "plant.py", policy]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=200, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    saving, attained, code = re.fullmatch(r"saving (.*)%, first token in time (.*)%, exit (\d)\n", done.stdout).groups()
    assert (float(saving) > 40, float(attained) >= 99, code) == (True, True, "0"), done.stdout
