"""`wattlens dvfs` and `wattlens actuator` at the terminal: one clear line, the right exit code."""

import json
import subprocess
import sys
from pathlib import Path


def wattlens(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wattlens", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_policy_tells_options_and_provenance() -> None:
    found = json.loads(wattlens("dvfs", "policy", "--json").stdout)
    assert set(found["policies"]["static"]["options"]) == {"clean_s", "stale_s", "queue_limit"}
    assert all(row["source"] for row in found["knees"])
    assert "H100" in wattlens("dvfs", "policy").stdout


def test_status_without_an_actuator_says_what_to_do(tmp_path: Path) -> None:
    done = wattlens("dvfs", "status", "--socket", tmp_path / "none")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"no response at {tmp_path / 'none'}" in done.stderr


def test_wrong_allow_list_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("allow: [{devices: all, knobs: [clock]}]\n")
    done = wattlens("actuator", "--config", tmp_path / "a.yaml", "--state", tmp_path / "s", "--socket", tmp_path / "sock")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "allow[0].baseline" in done.stderr


def test_restore_with_nothing_left(tmp_path: Path) -> None:
    done = wattlens("dvfs", "restore", "--state", tmp_path / "s")
    assert (done.returncode, done.stdout) == (0, f"Nothing to restore: no actuator has used {tmp_path / 's'}.\n")
    (tmp_path / "s").mkdir(exist_ok=True)
    done = wattlens("dvfs", "restore", "--state", tmp_path / "s")
    assert (done.returncode, done.stdout) == (0, "Nothing to restore.\n")
