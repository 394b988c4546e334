"""The log that refuses cells which a policy was changed for."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.vllm_plant.judging_log import JudgingLog, policy_files, refuse_seen, source_hash


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_seeds_that_a_changed_policy_has_seen_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"seed": 3, "sha256": "0" * 64, "policy": "aimd"}) + "\n")
    assert main(["vllm_plant", "--data", str(data), "--seed", "2", "3", "--log", str(log)]) == 2
    assert "a policy that changed needs a new seed" in capsys.readouterr().err
    refuse_seen(log, 4, {"aimd": "1" * 64})


def test_a_run_is_logged_before_it_shows_its_cells(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    JudgingLog(log, (4, 5), ("aimd",))
    started = {"sha256": source_hash("aimd"), "policy": "aimd", "started": True}
    assert [json.loads(line) for line in log.read_text().splitlines()] == [{"seed": seed, **started} for seed in (4, 5)]


def test_hash_covers_a_policy_and_its_helpers() -> None:
    names = {path.name for path in policy_files("aimd")}
    assert {"aimd.py", "_serving.py", "_options.py", "_trouble.py"} <= names
    assert "bisect.py" not in names
    assert source_hash("aimd") != source_hash("bisect")
