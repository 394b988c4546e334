"""The limit of a test's time, which a busy machine extends by minutes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import eventually

HANGS = """import subprocess, sys
def test_hangs():
    subprocess.run([sys.executable, "-c", "import os, time; print(os.getpid(), file=open('pid', 'w')); time.sleep(10_000)"])
"""


@pytest.mark.smoke
def test_a_test_that_hangs_fails_and_ends_its_process(tmp_path: Path) -> None:
    (tmp_path / "test_hang.py").write_text(HANGS)
    root = Path(__file__).parents[1]
    words = ["pytest", "-p", "tests.conftest", "--timeout=1", "-q", "-p", "no:cacheprovider", "test_hang.py"]
    environ = os.environ | {"PYTHONPATH": str(root)}
    outcome = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, "1 failed" in outcome.stdout) == (1, True), outcome.stdout
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists())
